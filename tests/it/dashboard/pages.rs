//! What the pages show: as it happens, whatever people wrote, and however much there is.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Instant;

use futures::StreamExt;
use kube::api::{Patch, PatchParams, PostParams};
use sluice::api::Playbook;
use sluice::controller;
use sluice::sandbox::{ControlPlane, Options as PlaneOptions, install_crds};

use super::*;
use crate::flag_sets::edit_map;
use crate::support::eventually;
use crate::support::metrics::Measured;

/// Texts that would do something where they are not taken for texts.
const HOSTILE: [&str; 8] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "'-alert(1)-'",
    "</title></textarea></script><svg onload=alert(1)>",
    "{{ 7 * 7 }}{% raw %}",
    "javascript:alert(1)",
    "gnp.exe\u{202e}\u{200b}",
    "a\u{0}b\r\nSet-Cookie: a=b",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_people_wrote_is_text_on_every_page() {
    let space = bare_space("panel-hostile").await;
    let controller = Running::in_space(&space).await;
    let hostile = HOSTILE.join(" ").replace('\0', "");
    let short: String = hostile.chars().take(200).collect();
    let rollout = json!({
        "metadata": {"name": "dreams"},
        "spec": {
            "feature": {"title": short, "owner": short,
                "variants": [{"name": "on-it", "value": hostile}, {"name": "off-it", "value": "<b>"}],
                "control": "off-it", "treatment": "on-it"},
            "flagSetRef": {"name": "maya"},
            "cohorts": [{"name": "everyone", "title": short}],
            "phases": [{"name": "ga", "goal": short, "steps": [{"name": "half", "cohorts": {"everyone": 50}, "hold": "1000h"}]}],
        },
    });
    let statics = json!({"state": "ENABLED", "variants": {"on": hostile}, "defaultVariant": "on"});
    let set =
        json!({"metadata": {"name": "maya"}, "spec": {"flags": {"<script>alert(2)</script>": statics}}});
    space.apply::<FlagSet>(&set.to_string()).await.unwrap();
    space.apply::<FeatureRollout>(&rollout.to_string()).await.unwrap();
    let risk = json!({"title": short, "kind": hostile.chars().take(60).collect::<String>(), "mitigation": short, "owner": short});
    let task = json!({"id": "a", "title": short, "owner": short});
    let plan = json!({"metadata": {"name": "maya"}, "spec": {
        "title": short, "startDate": "2020-01-06",
        "phases": [{"name": "first", "title": short, "goal": short, "weeks": {"from": 1, "to": 2},
            "sections": [{"title": short, "tasks": [task]}], "requires": [{"task": "a"}]}],
        "milestones": [{"name": "out", "title": short, "week": 1, "when": {"tasks": ["a"]}}],
        "risks": [risk],
    }});
    space.apply::<Playbook>(&plan.to_string()).await.unwrap();
    space.until("dreams", "served", |status| is_ready(status) && status.exposed()).await;
    let panel = Served::of(bare().kubeconfig(), &space.name).await;
    let mut browser = panel.entered().await;
    let path = page_of(&space);
    let csrf = hidden(&browser.get(&format!("{path}/pause")).await.text, "csrf");
    let reason: String = reqwest::Url::parse_with_params("http://x/", [("reason", &short)])
        .unwrap()
        .query()
        .unwrap()
        .to_owned();
    let asked =
        browser.send(Method::POST, &format!("{path}/pause"), Some(format!("csrf={csrf}&{reason}"))).await;
    assert_eq!(asked.status, StatusCode::SEE_OTHER, "{}", asked.text);
    browser.until(asked.location(), "applied").await;
    let query = reason.replace("reason=", "q=");
    let flag = reason.replace("reason=", "flag=");
    let file = format!("/files/{}/flagset/maya", space.name);
    let mut pages = vec![
        browser.get("/").await,
        browser.get(&format!("/?{query}&{}", query.replace("q=", "owner="))).await,
        browser.get(asked.location()).await,
        browser.get(&format!("{path}/rollback?{reason}&mode=%3Cscript%3E")).await,
        browser.get(&format!("{path}/setpercent?percent.everyone=%3Cscript%3E")).await,
        browser.until("/playbooks", "/maya\"").await,
        browser.get(&format!("/playbooks/{}/maya", space.name)).await,
        browser.get("/playbooks/%3Cscript%3E/%3Cimg%3E").await,
        browser.get("/files").await,
        browser.get(&format!("{file}?{flag}&{}", reason.replace("reason=", "context="))).await,
        browser.get(&format!("{file}?flag=dreams&context=%7B%22targetingKey%22:%22%3Cscript%3E%22%7D")).await,
        browser.get(&format!("/try?namespace={}&rollout=dreams", space.name)).await,
        browser.get("/%3Cscript%3Ealert(1)%3C/script%3E").await,
        browser.get(&format!("/rollouts/%3Cscript%3E/{}", "%3Cimg%3E")).await,
    ];
    let spec = reason.replace("reason=", "spec=");
    pages.push(browser.send(Method::POST, "/try", Some(format!("csrf={csrf}&{spec}"))).await);
    for (i, page) in pages.iter().enumerate() {
        let text = &page.text;
        for raw in
            ["<script>alert", "<img src=x", "<svg onload", "onerror=alert(1)>\"", "\u{202e}", "\u{200b}"]
        {
            // What somebody edits is given back letter by letter, escaped.
            let edits = raw.starts_with('\u{202e}') || raw.starts_with('\u{200b}');
            assert!(
                !text.contains(raw)
                    || (edits && (text.contains("<textarea") || text.contains("id=\"reason\""))),
                "page {i} has {raw:?}: {text}"
            );
        }
        assert!(!text.contains("49{"), "page {i} evaluates what people wrote: {text}");
        assert_eq!(page.header("set-cookie"), "", "page {i}");
        assert!(page.status != StatusCode::INTERNAL_SERVER_ERROR, "page {i}: {text}");
    }
    assert!(pages[2].text.contains("&lt;script&gt;alert(1)"), "it is there, as text");
    assert!(pages[9].text.contains("&lt;script&gt;alert(2)"), "{}", pages[9].text);
    assert!(pages[6].text.matches("&lt;script&gt;alert(1)").count() > 8, "{}", pages[6].text);
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_page_hears_of_a_change_and_of_a_lost_connection() {
    let (space, controller) = served("panel-live").await;
    let panel = Served::of(bare().kubeconfig(), &space.name).await;
    let mut browser = panel.entered().await;
    // Other tests have rollouts here, too, and a page has a hundred.
    let list = format!("/?namespace={}", space.name);
    let page = browser.until(&list, "Dreams").await;
    // A page that hears nothing for ten seconds says so, which takes that the server beats more often.
    assert!(page.text.contains("data-beat=\"4\""), "{}", page.text);
    let mut stream = browser.stream().await;
    stream.until("event: ").await;
    let title = json!({"spec": {"feature": {"title": "Dreams, renamed"}}});
    let begun = Instant::now();
    space
        .api::<FeatureRollout>()
        .patch("dreams", &PatchParams::default(), &Patch::Merge(&title))
        .await
        .unwrap();
    let id = format!("{}/dreams", space.name);
    let mut told = String::new();
    // A change of all may be that of others.
    for _ in 0..20 {
        stream.until_changed(&id).await;
        told = browser.get(&list).await.text;
        if told.contains("Dreams, renamed") {
            break;
        }
    }
    let late = begun.elapsed();
    println!("a change was on the page after {} ms", late.as_millis());
    assert!(told.contains("Dreams, renamed"));
    // The end of a session ends its streams.
    let csrf = hidden(&browser.get("/").await.text, "csrf");
    browser.form("/leave", &csrf, "").await;
    stream.until("event: over").await;
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_api_server_a_page_says_how_old_it_is_and_comes_back_by_itself() {
    let mut plane = ControlPlane::start(PlaneOptions::default()).await.unwrap();
    install_crds(&plane.client().unwrap()).await.unwrap();
    let space = Space::on(plane.client().unwrap(), "panel-lost").await;
    space.apply::<FeatureRollout>(STEPS).await.unwrap();
    let panel = Served::of(plane.kubeconfig(), &space.name).await;
    let mut browser = panel.entered().await;
    browser.until("/", "Dreams").await;
    let mut stream = browser.stream().await;
    plane.stop_api_server();
    stream.until("event: lost").await;
    let page = browser.get("/").await;
    assert!(page.text.contains("cannot be reached since") && page.text.contains("Dreams"), "{}", page.text);
    assert_eq!(browser.get(&page_of(&space)).await.status, StatusCode::BAD_GATEWAY);
    plane.start_api_server().await.unwrap();
    stream.until("event: changed").await;
    let back = browser.until("/", "Dreams").await;
    assert!(!back.text.contains("cannot be reached"), "{}", back.text);
    drop(panel);
    plane.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_says_what_one_user_gets_and_a_spec_can_be_tried_out() {
    let (space, controller) = served("panel-file").await;
    let panel = Served::of(bare().kubeconfig(), &space.name).await;
    let mut browser = panel.entered().await;
    let file = format!("/files/{}/rollout/dreams", space.name);
    let shown = browser.get("/files").await;
    assert!(browser.until("/files", &file).await.status == StatusCode::OK, "{}", shown.text);
    let ask = |context: &str| {
        let url =
            reqwest::Url::parse_with_params("http://x/", [("flag", "dreams"), ("context", context)]).unwrap();
        format!("{file}?{}", url.query().unwrap())
    };
    let early = browser.get(&ask("{\"targetingKey\": \"u1\", \"segment\": \"A\"}")).await.text;
    let has = |page: &str, name: &str, value: &str| {
        let (_, rest) = page.split_once(&format!("<dt>{name}</dt>")).unwrap_or_else(|| panic!("{page}"));
        rest.split("</div>").next().unwrap().contains(value)
    };
    assert!(has(&early, "Value", "true") && has(&early, "Cohort", "early"), "{early}");
    assert!(has(&early, "Reason", "TARGETING_MATCH"), "{early}");
    assert!(has(&early, "Cohort", "of it have the feature"), "{early}");
    assert!(early.contains("<code>segment</code>, <code>targetingKey</code>"), "{early}");
    assert!(early.contains("disabled = false, enabled = true"), "{early}");
    assert!(early.contains(&format!("action=\"{file}#ask\"")), "the question stays in sight: {early}");
    // Of many users the split gives half the feature, and the bucket says which half.
    let mut with = 0;
    for i in 0..40 {
        let page = browser.get(&ask(&format!("{{\"targetingKey\": \"user-{i}\"}}"))).await.text;
        assert!(has(&page, "Cohort", "rest"), "{page}");
        let (_, bucket) = page.split_once("<dt>Bucket</dt><dd>").unwrap();
        let bucket: f64 = bucket.split('%').next().unwrap().parse().unwrap();
        assert_eq!(has(&page, "Value", "true"), bucket < 50.0, "{page}");
        with += usize::from(bucket < 50.0);
    }
    assert!((8..=32).contains(&with), "{with} of 40");
    for wrong in ["[]", "x", "{\"a\": ", &"[".repeat(500)] {
        assert!(browser.get(&ask(wrong)).await.text.contains("would-not"), "{wrong}");
    }

    let tried = browser.get(&format!("/try?namespace={}&rollout=dreams", space.name)).await;
    let csrf = hidden(&tried.text, "csrf");
    let form = |spec: &str| {
        let url =
            reqwest::Url::parse_with_params("http://x/", [("csrf", csrf.as_str()), ("spec", spec)]).unwrap();
        Some(url.query().unwrap().to_owned())
    };
    let object = space.api::<FeatureRollout>().get("dreams").await.unwrap();
    let mut edited = json!({"apiVersion": "sluice.dev/v1alpha1", "kind": "FeatureRollout",
        "metadata": {"name": "dreams", "namespace": space.name}, "spec": object.spec});
    edited["spec"]["phases"][0]["steps"][0]["cohorts"]["rest"] = json!(20);
    edited["spec"]["phases"][0]["steps"][1]["approval"] = Value::Null;
    let plan = browser.send(Method::POST, "/try", form(&edited.to_string())).await;
    assert_eq!(plan.status, StatusCode::OK, "{}", plan.text);
    assert!(plan.text.contains("50% → 20%") && plan.text.contains("differs"), "{}", plan.text);
    edited["spec"]["phases"][0]["steps"][0]["cohorts"]["nobody"] = json!(20);
    let wrong = browser.send(Method::POST, "/try", form(&edited.to_string())).await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
    assert!(wrong.text.contains("nobody"), "{}", wrong.text);
    let now = space.api::<FeatureRollout>().get("dreams").await.unwrap();
    assert_eq!(now.metadata.generation, object.metadata.generation, "nothing was applied");
    controller.stop().await;

    // Somebody writes a file of which a few letters stand for a lot: one page of that would take a gigabyte.
    let references = vec![json!({"$ref": "e"}); 3000];
    let text = json!({
        "flags": {"dreams": {"state": "ENABLED", "variants": {"a": true}, "targeting": {"or": references}}},
        "$evaluators": {"e": {"in": [{"var": "x"}, "y".repeat(300_000)]}},
    });
    edit_map(&space, "dreams", json!({"data": {"flags.json": text.to_string()}})).await;
    let page = browser.get(&file).await;
    assert!(page.text.contains("The file cannot be read: it would take too much memory"), "{}", page.text);
}

/// Prints how long a list of a thousand takes; how long is output and no condition.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_rollouts_are_listed_a_hundred_at_a_time() {
    let space = bare_space("panel-many").await;
    let api = space.api::<FeatureRollout>();
    let create = |i: usize| {
        let api = api.clone();
        async move {
            let rollout: FeatureRollout = serde_json::from_value(json!({
                "apiVersion": "sluice.dev/v1alpha1", "kind": "FeatureRollout",
                "metadata": {"name": format!("r{i:04}")},
                "spec": {"feature": {"title": format!("Feature {i:04}"), "owner": format!("team-{}", i % 7)},
                    "cohorts": [{"name": "everyone"}],
                    "phases": [{"name": "ga", "ramp": {"percents": [5, 100], "every": "24h"}}]},
            }))
            .unwrap();
            api.create(&PostParams::default(), &rollout).await.unwrap();
        }
    };
    futures::stream::iter(0..1_000).map(create).buffer_unordered(32).collect::<Vec<()>>().await;
    let panel = Served::of(bare().kubeconfig(), &space.name).await;
    let mut browser = panel.entered().await;
    let list = format!("/?namespace={}", space.name);
    browser.until(&list, "1000 of them fit").await;
    let mut took: Vec<Duration> = Vec::new();
    for _ in 0..50 {
        let begun = Instant::now();
        browser.get(&list).await;
        took.push(begun.elapsed());
    }
    took.sort();
    let plain = browser.get(&list).await;
    assert_eq!(plain.text.matches("<tr class=\"").count(), 100);
    browser.headers = vec![("accept-encoding", "gzip")];
    let packed = browser.raw(&list).await;
    assert_eq!(packed.1, "gzip");
    println!(
        "1,000 rollouts: the list takes {} ms (median), {} ms (slowest of 50), {} KiB, {} KiB compressed",
        took[25].as_millis(),
        took[49].as_millis(),
        plain.text.len() / 1024,
        packed.0 / 1024
    );
    browser.headers.clear();
    let last = browser.get(&format!("{list}&from=900&q=feature+099")).await;
    assert!(last.text.contains("Feature 0999") && last.text.contains("10 of them fit"), "{}", last.text);
}

/// In Chromium: no finding of axe on any page, in both schemes and three widths, and two taps and a reason from the list to
/// a rollback.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_browser_every_page_is_accessible_and_a_rollback_is_two_taps_away() {
    // With a real Prometheus that scrapes an app, one of whose cohorts nothing is known of.
    let world = Measured::start("panel-browser").await;
    let space = world.space.clone();
    world.app.set_error_percent(12.5);
    let options = controller::Options { policy_settling: Duration::ZERO, ..world.options() };
    let reader = options.measurements_reader.clone();
    let controller = Running::as_told(world.proxy.config(), options);
    space.apply::<FeatureRollout>(&format!("{}{}", STEPS.trim_end(), measured::WATCHED)).await.unwrap();
    space.until("dreams", "served", |status| is_ready(status) && status.exposed()).await;
    space.apply::<Playbook>(playbooks::PLAN).await.unwrap();
    space.apply::<FeatureRollout>(playbooks::JOINS).await.unwrap();
    space.until("whispers", "waiting", |status| status.reason.as_deref() == Some("Playbook:b")).await;
    eventually("some values are known", async || {
        let series = reader.read(&space.name, "dreams").unwrap_or_default().series;
        let errors = series.iter().find(|series| series.name == "errors");
        errors.is_some_and(|errors| errors.said.iter().filter_map(|said| said.value()).count() >= 5)
    })
    .await;
    let config = Config::from_custom_kubeconfig(bare().kubeconfig(), &KubeConfigOptions::default()).await;
    let sign_in = SignIn::Kubeconfig(Box::new(config.unwrap()));
    let here = Measurements::Here(Arc::new(move |namespace, name| reader.read(namespace, name)));
    let panel = Served::measuring(sign_in, None, &[&space.name], here).await;
    let entrance = panel.panel.entrance.borrow().clone();
    println!("{}", ran("browser", &["check", &entrance, &space.name, "dreams"]).await);
    let status = space.until("dreams", "rolled back", |status| status.rollback.is_some()).await;
    assert_eq!(status.rollback.unwrap().message, "errors are rising");
    controller.stop().await;
}

/// By Lighthouse, on its emulated phone: at least 95 for performance and for accessibility, of the list and of a rollout.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_the_phone_of_lighthouse_the_list_and_a_rollout_have_95_points() {
    let (space, controller) = served("panel-phone").await;
    let panel = Served::of(bare().kubeconfig(), &space.name).await;
    // Other tests have rollouts here, too, and a page has a hundred.
    panel.entered().await.until(&format!("/?namespace={}", space.name), "Dreams").await;
    let entrance = panel.panel.entrance.borrow().clone();
    println!("{}", ran("lighthouse", &[&entrance, &space.name, "dreams"]).await);
    controller.stop().await;
}

/// How long a browser may take for all that a script has it do.
const PATIENCE: Duration = Duration::from_secs(900);

/// What a script of a folder says that ends well, and in time: a browser may hang.
async fn ran(folder: &str, args: &[&str]) -> String {
    let home = {
        let folder = folder.to_owned();
        tokio::task::spawn_blocking(move || installed(&folder)).await.unwrap()
    };
    let mut node = tokio::process::Command::new("node");
    node.arg(home.join("panel.mjs")).args(args).current_dir(home).stdin(Stdio::null()).kill_on_drop(true);
    let ran = tokio::time::timeout(PATIENCE, node.output()).await;
    let ran =
        ran.unwrap_or_else(|_| panic!("the script of {folder} has not ended after {PATIENCE:?}")).unwrap();
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(ran.status.success(), "{said}\n{}", String::from_utf8_lossy(&ran.stderr));
    said
}

/// The script with what it needs, installed once for each content.
fn installed(folder: &str) -> std::path::PathBuf {
    let found = Command::new("/usr/bin/chromium").arg("--version").output();
    assert!(found.is_ok_and(|ran| ran.status.success()), "this test needs /usr/bin/chromium");
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
    let files = ["package.json", "package-lock.json", "panel.mjs"];
    let contents: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(from.join(file)).unwrap()).collect();
    let digest = sluice::flags::sha256_hex(&contents.concat());
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{folder}-{digest:.12}"));
    if !home.join("ready").exists() {
        let _ = std::fs::remove_dir_all(&home);
        std::fs::create_dir_all(&home).unwrap();
        for (file, content) in files.iter().zip(contents) {
            std::fs::write(home.join(file), content).unwrap();
        }
        let npm = Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(&home).status();
        assert!(npm.is_ok_and(|status| status.success()), "this test needs npm");
        std::fs::write(home.join("ready"), "").unwrap();
    }
    home
}

/// A page that is filtered reads itself again with each change, as any other: rows come and go, and so does what the
/// filter offers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_is_filtered_by_state_follows_what_changes() {
    let (space, controller) = served("panel-filter").await;
    let panel = Served::of(bare().kubeconfig(), &space.name).await;
    let mut browser = panel.entered().await;
    let of = |state: &str| format!("/?q=&namespace={}&state={state}&owner=", space.name);
    let (holding, paused) = (of("Holding"), of("Paused"));
    let row = format!("href=\"{}\"", page_of(&space));
    let mut stream = browser.stream().await;
    let before = browser.until(&holding, &row).await;
    assert!(before.text.contains("<select name=\"state\" data-live=\"states\">"), "{}", before.text);
    space.apply::<FeatureRollout>(&STEPS.replace("spec:", "spec:\n  suspend: true")).await.unwrap();
    stream.until("event: changed").await;
    let gone = browser.until(&holding, "No rollout fits").await;
    assert!(!gone.text.contains(&row), "{}", gone.text);
    for offered in ["<option selected>Holding</option>", "<option>Paused</option>"] {
        assert!(gone.text.contains(offered), "{offered}: {}", gone.text);
    }
    browser.until(&paused, &row).await;
    controller.stop().await;
}
