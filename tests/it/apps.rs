//! Apps in Python and Node, with the official providers, get what status says and keep it while percentages rise.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};
use sluice::api::status::CohortStatus;
use sluice::api::{Expression, FeatureRolloutStatus, Match, Operator, Percent, Tier};
use sluice::flags::{File, Identity, compose, fragment, self_check, sha256_hex};
use sluice::plan::{Audience, AudienceCohort, Feature};

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/app");
const FLAG: &str = "dreams.advanced";
const REGULAR: usize = 2_000;
/// The providers poll every few seconds; a busy machine takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn python_gets_what_status_says() {
    let home = installed("python", &["requirements.txt"], |home| {
        run(Command::new(tool("python3")).args(["-m", "venv", "venv"]).current_dir(home));
        run(Command::new(home.join("venv/bin/python"))
            .args(["-m", "pip", "install", "--quiet", "-r", "requirements.txt"])
            .current_dir(home));
    });
    let mut command = Command::new(home.join("venv/bin/python"));
    command.arg(format!("{EXAMPLES}/python/app.py"));
    promise(command);
}

#[test]
fn node_gets_what_status_says() {
    tool("node");
    let home = installed("node", &["package.json", "package-lock.json", "app.js"], |home| {
        run(Command::new(tool("npm")).args(["ci", "--no-audit", "--no-fund"]).current_dir(home));
    });
    let mut command = Command::new("node");
    command.arg(home.join("app.js"));
    promise(command);
}

/// Literals exactly, shares within two points, and nobody loses the feature when the file is swapped for a higher one.
fn promise(command: Command) {
    let mount = Mount::new();
    mount.swap(&file(25_000));
    let users = users();
    let app = App::start(command, &mount, &users);
    let first = app.round(&users);
    check(&users, &first, 25.0);
    mount.swap(&file(50_000));
    let second = app.round(&users);
    check(&users, &second, 50.0);
    assert!(first.is_subset(&second), "someone lost the feature by a raise");
}

fn check(users: &[Value], with_feature: &BTreeSet<usize>, percent: f64) {
    let mut regular = 0.0;
    for (index, user) in users.iter().enumerate() {
        let has = with_feature.contains(&index);
        match user["expect"].as_str() {
            Some(expected) => assert_eq!(has, expected == "treatment", "{user}"),
            None => regular += f64::from(u8::from(has)),
        }
    }
    let share = regular / REGULAR as f64 * 100.0;
    assert!((share - percent).abs() < 2.0, "{share} instead of {percent}");
}

/// Two thousand regular users, and some whom a literal or no cohort at all decides: `expect` says what they get.
fn users() -> Vec<Value> {
    let mut users: Vec<Value> = (0..REGULAR)
        .map(|index| json!({"targetingKey": format!("user-{index}"), "segment": "regular"}))
        .collect();
    let fixed = |expect: &str, user: Value| {
        let mut user = user;
        user["expect"] = json!(expect);
        user
    };
    for index in 0..20 {
        let key = format!("user-{index}");
        users.push(fixed("treatment", json!({"targetingKey": key, "segment": "early"})));
        users.push(fixed("control", json!({"targetingKey": key, "segment": "late"})));
        users.push(fixed("control", json!({"targetingKey": key, "segment": "unheard-of"})));
        users.push(fixed("treatment", json!({"targetingKey": key, "age": 70 + index})));
    }
    users.push(fixed("treatment", json!({"segment": "early"})));
    users.push(fixed("control", json!({"segment": "regular"})));
    users.push(fixed("control", json!({"segment": "late"})));
    // None of these is a number above 60.
    for age in [json!("70"), json!(true), json!("abc"), json!(60), json!([70]), json!({"years": 70})] {
        users.push(fixed("control", json!({"targetingKey": "u", "age": age})));
    }
    users.push(fixed("treatment", json!({"targetingKey": "u", "beta": true})));
    users.push(fixed("treatment", json!({"targetingKey": "u", "beta": "true"})));
    users.push(fixed("control", json!({"targetingKey": "u", "beta": false})));
    users.push(fixed("treatment", json!({"targetingKey": "u", "app": {"version": "2.10.0"}})));
    for version in [json!("2.9.9"), json!("new"), json!(5), json!(null)] {
        users.push(fixed("control", json!({"targetingKey": "u", "app": {"version": version}})));
    }
    users
}

/// The file at this percentage of the regular cohort, a second flag beside it so that conditions are shared.
fn file(regular: u32) -> String {
    let attribute = |key: &str, value: &str| Match {
        attributes: [(key.to_owned(), value.to_owned())].into(),
        expressions: Vec::new(),
    };
    let expression = |key: &str, operator, value: &str| Match {
        attributes: Default::default(),
        expressions: vec![Expression { key: key.to_owned(), operator, values: vec![value.to_owned()] }],
    };
    let cohorts = [
        ("early", 100_000, attribute("segment", "early")),
        ("regular", regular, attribute("segment", "regular")),
        ("late", 0, attribute("segment", "late")),
        ("seniors", 100_000, expression("age", Operator::Gt, "60")),
        ("beta", 100_000, attribute("beta", "true")),
        ("new-app", 100_000, expression("app.version", Operator::SemVer, ">= 2.10.0")),
    ];
    let audience = Audience {
        name: "users-0123456789".to_owned(),
        cohorts: cohorts
            .iter()
            .map(|(name, _, matches)| AudienceCohort { name: (*name).to_owned(), matches: matches.clone() })
            .collect(),
    };
    let status = FeatureRolloutStatus {
        revision: i64::from(regular),
        cohorts: cohorts
            .iter()
            .map(|(name, served, _)| {
                CohortStatus::deciding(name, Percent::from_thousandths(*served).unwrap())
            })
            .collect(),
        ..FeatureRolloutStatus::default()
    };
    let mut file = File::default();
    for key in [FLAG, "whispers"] {
        let feature = Feature {
            key: key.to_owned(),
            variants: vec![("enabled".to_owned(), json!(true)), ("disabled".to_owned(), json!(false))],
            control: "disabled".to_owned(),
            treatment: "enabled".to_owned(),
            bucket_by: "targetingKey".to_owned(),
            salt: key.to_owned(),
            title: None,
            owner: None,
            tier: Tier::default(),
        };
        let identity =
            Identity { namespace: "maya".to_owned(), name: "dreams".to_owned(), uid: "u".to_owned() };
        let fragment = fragment(&feature, &identity, &status, &audience);
        self_check(&feature, &status, &audience, &fragment).unwrap();
        file.members.insert(fragment.key, fragment.body);
    }
    let text = compose(&file);
    assert!(text.contains("$evaluators"));
    text
}

/// A ConfigMap's directory as the kubelet lays it out: `flags.json` → `..data/flags.json`, `..data` → a dated directory
/// that is replaced by renaming a new link over it.
struct Mount(tempfile::TempDir);

impl Mount {
    fn new() -> Mount {
        let mount = Mount(tempfile::tempdir().unwrap());
        symlink("..data/flags.json", mount.file()).unwrap();
        mount
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("flags.json")
    }

    fn swap(&self, text: &str) {
        let root = self.0.path();
        let old = fs::read_link(root.join("..data")).ok();
        let name = format!("..{}", sha256_hex(text.as_bytes()));
        fs::create_dir(root.join(&name)).unwrap();
        fs::write(root.join(&name).join("flags.json"), text).unwrap();
        symlink(&name, root.join("..data_tmp")).unwrap();
        fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
        if let Some(old) = old {
            fs::remove_dir_all(root.join(old)).unwrap();
        }
    }
}

/// A running app; it is ended with the test.
struct App {
    child: Child,
    lines: Receiver<String>,
}

impl App {
    fn start(mut command: Command, mount: &Mount, users: &[Value]) -> App {
        let mut child = command
            .args([FLAG, "--watch"])
            .env("FLAGD_OFFLINE_FLAG_SOURCE_PATH", mount.file())
            .env("FLAGD_OFFLINE_POLL_MS", "500")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        for user in users {
            let mut user = user.clone();
            user.as_object_mut().unwrap().remove("expect");
            writeln!(stdin, "{user}").unwrap();
        }
        drop(stdin);
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (send, lines) = channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    break;
                }
            }
        });
        App { child, lines }
    }

    /// The next answer for every user: the indices of those who have the feature.
    fn round(&self, users: &[Value]) -> BTreeSet<usize> {
        let mut with_feature = BTreeSet::new();
        for (index, user) in users.iter().enumerate() {
            let line = self.lines.recv_timeout(PATIENCE).expect("the app says no more");
            let answer: Value = serde_json::from_str(&line).unwrap();
            assert_eq!(answer["targetingKey"], user["targetingKey"], "{line}");
            assert_eq!(answer["reason"], json!("TARGETING_MATCH"), "{user}: {line}");
            let variant = if answer["value"] == json!(true) { "enabled" } else { "disabled" };
            assert_eq!(answer["variant"], json!(variant), "{line}");
            if variant == "enabled" {
                with_feature.insert(index);
            }
        }
        with_feature
    }
}

impl Drop for App {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A directory with these files of an example and what `install` adds; made once for each content.
fn installed(example: &str, files: &[&str], install: impl FnOnce(&Path)) -> PathBuf {
    let contents: Vec<Vec<u8>> =
        files.iter().map(|file| fs::read(format!("{EXAMPLES}/{example}/{file}")).unwrap()).collect();
    let digest = sha256_hex(&contents.concat());
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("app-{example}-{digest:.12}"));
    let ready = home.join("ready");
    if !ready.exists() {
        let _ = fs::remove_dir_all(&home);
        fs::create_dir_all(&home).unwrap();
        for (file, content) in files.iter().zip(contents) {
            fs::write(home.join(file), content).unwrap();
        }
        install(&home);
        fs::write(ready, "").unwrap();
    }
    home
}

/// The tool's name, if it can be run.
fn tool(name: &str) -> &str {
    let found = Command::new(name).arg("--version").stdout(Stdio::null()).status();
    assert!(found.is_ok(), "this test needs {name} on the PATH: {found:?}");
    name
}

fn run(command: &mut Command) {
    let status = command.status().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?}: {status}");
}
