//! The panel over a thousand rollouts that step: how long a list takes, how large the first load is, how late a change is on a page that is
//! open, and what a hundred open pages cost.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::pin::pin;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use flate2::read::GzDecoder;
use futures::StreamExt;
use jiff::SignedDuration;
use kube::ResourceExt;
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::{Value, json};
use sluice::clock;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::figures::{Figures, ms, quantile};
use crate::steps::{number, step};
use crate::thousand::until_ready;
use crate::world::{World, rollout};

const ROLLOUTS: usize = 1000;
const SETS: usize = 20;
/// Pages that are open at the end.
const PAGES: usize = 100;
/// Steps of each rollout, and seconds from one to the next: 25 of the thousand step in each second.
const STEPS: u32 = 6;
const EACH: i64 = 40;
/// From the first create to the first of these steps.
const LEAD: SignedDuration = SignedDuration::from_secs(45);
/// Name of the person who looks.
const USER: &str = "bench-panel";
/// How long a browser waits after one look before it looks again: `panel.js`.
const REST: Duration = Duration::from_millis(400);

/// The panel as a process of its own.
struct Panel {
    child: Child,
    origin: String,
    cookie: String,
}

impl Panel {
    async fn start(world: &World) -> Panel {
        let kubeconfig = world.plane().data_dir().join("panel.kubeconfig");
        let user = world.plane().user_kubeconfig(USER, &["system:masters"]).unwrap();
        std::fs::write(&kubeconfig, serde_json::to_vec(&user).unwrap()).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_sluice"));
        command.arg("dashboard").arg("--kubeconfig").arg(&kubeconfig);
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let entrance = loop {
            let line = lines.next_line().await.unwrap().expect("the panel prints its address");
            if let Some(address) = line.strip_prefix("Open ") {
                break address.to_owned();
            }
        };
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let entered = http.get(&entrance).send().await.unwrap();
        let cookie = entered.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
        let (origin, _) = entrance.split_once("/enter").unwrap();
        Panel { origin: origin.to_owned(), cookie, child }
    }

    fn resident_mib(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id().unwrap())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
    }

    fn browser(&self) -> Browser {
        let (origin, cookie) = (self.origin.clone(), self.cookie.clone());
        Browser { http: reqwest::Client::new(), origin, cookie }
    }
}

/// A browser, as far as the panel sees one.
#[derive(Clone)]
struct Browser {
    http: reqwest::Client,
    origin: String,
    cookie: String,
}

impl Browser {
    fn ask(&self, path: &str) -> reqwest::RequestBuilder {
        self.http.get(format!("{}{path}", self.origin)).header("cookie", &self.cookie)
    }

    /// A page as it was sent, and as it is read.
    async fn get(&self, path: &str) -> (usize, String) {
        let answer = self.ask(path).header("accept-encoding", "gzip").send().await.unwrap();
        let is_packed = answer.headers().get("content-encoding").is_some();
        let bytes = answer.bytes().await.unwrap();
        let mut text = String::new();
        match is_packed {
            true => GzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap(),
            false => (&bytes[..]).read_to_string(&mut text).unwrap(),
        };
        (bytes.len(), text)
    }
}

/// What a list shows of each rollout: the percentage of everyone.
fn shown(page: &str) -> BTreeMap<String, String> {
    let rows = page.split("<tr class=\"").skip(1);
    rows.filter_map(|row| {
        let (_, rest) = row.split_once("/rollouts/bench/")?;
        let name = rest.split('"').next()?;
        let (_, rest) = row.split_once("<span class=\"name\">everyone</span> <b>")?;
        Some((name.to_owned(), rest.split("</b>").next()?.to_owned()))
    })
    .collect()
}

/// When each rollout was first heard to serve each percentage.
type Heard = Arc<Mutex<BTreeMap<(String, String), Instant>>>;

/// An open page, which reads itself again as `panel.js` does, until it is dropped.
struct Page(tokio::task::JoinHandle<()>);

impl Drop for Page {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn open(browser: Browser, path: String, seen: Option<Heard>) -> Page {
    Page(tokio::spawn(async move {
        let mut stream = browser.ask("/live").send().await.unwrap();
        let mut text = String::new();
        while let Ok(Some(chunk)) = stream.chunk().await {
            text.push_str(&String::from_utf8_lossy(&chunk));
            if !text.contains("event: changed") {
                continue;
            }
            text.clear();
            let (_, page) = browser.get(&path).await;
            if let Some(seen) = &seen {
                let now = clock::monotonic();
                let mut seen = seen.lock().unwrap();
                for what in shown(&page) {
                    seen.entry(what).or_insert(now);
                }
            }
            clock::sleep(REST).await;
        }
    }))
}

/// Steps, looks, counts.
pub async fn run(world: &World, figures: &mut Figures) {
    let _controller = world.controller().await;
    let sets: Vec<String> = (0..SETS).map(|index| format!("set-{index:02}")).collect();
    for set in &sets {
        world.create_flag_set(set).await;
    }
    let begin = clock::real_now() + LEAD;
    let first = json!({"cohorts": {"everyone": 5}, "hold": "1ms"});
    let rollouts = (0..ROLLOUTS).map(|index| {
        let turn = |n: u32| {
            let milliseconds = i64::from(n) * EACH * 1000 + i64::try_from(index).unwrap() * EACH;
            let at = begin + SignedDuration::from_millis(milliseconds);
            step(at, 10 + 10 * n, if n + 1 == STEPS { "1000h" } else { "1ms" })
        };
        let steps: Vec<Value> = std::iter::once(first.clone()).chain((0..STEPS).map(turn)).collect();
        rollout(&format!("rollout-{index:04}"), Some(&sets[index % SETS]), &steps)
    });
    world.create(rollouts).await;
    until_ready(world, ROLLOUTS).await;

    let panel = Panel::start(world).await;
    figures.add("panel", "memory, nobody looks", None, panel.resident_mib(), "MiB");
    let browser = panel.browser();
    let (_, mut page) = browser.get("/").await;
    while !page.contains("1000 in all") {
        clock::sleep(Duration::from_millis(200)).await;
        page = browser.get("/").await.1;
    }
    first_load(figures, &browser, &page).await;
    crate::steps::wait_past(begin, Duration::from_secs(1)).await;
    list(figures, &browser).await;
    changes(world, figures, &browser, "one open page", 1).await;
    let from = std::fs::metadata(world.plane().audit_log_path().unwrap()).unwrap().len();
    changes(world, figures, &browser, "a hundred open pages", PAGES).await;
    let pages: Vec<Page> = (0..PAGES).map(|_| open(browser.clone(), "/".to_owned(), None)).collect();
    clock::sleep(Duration::from_secs(20)).await;
    figures.add("panel", "watches of a hundred open pages", Some("<= 10"), number(watches(world, 0)), "");
    let calls = calls(world, usize::try_from(from).unwrap());
    for (what, count) in calls {
        figures.add("panel", format!("  with a hundred pages: {what}"), None, number(count), "");
    }
    figures.add("panel", "memory with a hundred open pages", Some("< 60"), panel.resident_mib(), "MiB");
    drop(pages);
}

/// Everything that a browser reads before it shows the list, compressed as it is sent.
async fn first_load(figures: &mut Figures, browser: &Browser, page: &str) {
    let (mut sum, _) = browser.get("/").await;
    let parts: BTreeSet<&str> = page.split('"').filter(|word| word.starts_with("/assets/")).collect();
    for part in parts {
        sum += browser.get(part).await.0;
    }
    figures.add("panel", "first load, compressed", Some("< 150"), number(sum) / 1024.0, "KiB");
}

async fn list(figures: &mut Figures, browser: &Browser) {
    let mut took = Vec::new();
    for _ in 0..200 {
        let begun = clock::monotonic();
        browser.get("/").await;
        took.push(ms(begun.elapsed()));
        clock::sleep(Duration::from_millis(50)).await;
    }
    figures.add("panel", "the list, median", None, quantile(&mut took, 0.5), "ms");
    figures.add("panel", "the list, p99 of 200", Some("< 100"), quantile(&mut took, 0.99), "ms");
}

/// How late a change is on a page that is open, counted from when a watch of the API server has told of it.
async fn changes(world: &World, figures: &mut Figures, browser: &Browser, what: &str, pages: usize) {
    let (told, seen) = (Heard::default(), Heard::default());
    // A list has a hundred rows: these are the ones with this name.
    let path = "/?q=rollout-00";
    for known in shown(&browser.get(path).await.1) {
        seen.lock().unwrap().insert(known, clock::monotonic());
    }
    let known: BTreeSet<(String, String)> = seen.lock().unwrap().keys().cloned().collect();
    let mut open_pages = vec![open(browser.clone(), path.to_owned(), Some(seen.clone()))];
    open_pages.extend((1..pages).map(|_| open(browser.clone(), path.to_owned(), None)));
    let watching = told.clone();
    let api = world.rollouts();
    let watch = tokio::spawn(async move {
        let mut events = pin!(watcher::watcher(api, watcher::Config::default()).applied_objects());
        while let Some(Ok(rollout)) = events.next().await {
            let name = rollout.name_any();
            let Some(status) = rollout.status.filter(|_| name.starts_with("rollout-00")) else { continue };
            let everyone = status.cohorts.iter().find(|cohort| cohort.name == "everyone");
            let Some(served) = everyone.map(|cohort| cohort.served.percent().to_string()) else { continue };
            watching.lock().unwrap().entry((name, served)).or_insert_with(clock::monotonic);
        }
    });
    clock::sleep(Duration::from_secs(u64::try_from(EACH).unwrap() + 5)).await;
    watch.abort();
    clock::sleep(Duration::from_secs(3)).await;
    drop(open_pages);
    let (told, seen) = (told.lock().unwrap().clone(), seen.lock().unwrap().clone());
    // What is on the way at the end, or was there at the beginning, is no change that could be timed.
    let mut late: Vec<f64> = Vec::new();
    let mut missed = 0;
    for (change, at) in told.iter().filter(|(change, _)| !known.contains(*change)) {
        match seen.get(change) {
            Some(on_page) => late.push(on_page.saturating_duration_since(*at).as_secs_f64()),
            None => missed += 1,
        }
    }
    figures.add("panel", format!("changes seen, {what}"), None, number(late.len()), "");
    figures.add("panel", format!("changes never seen, {what}"), Some("0"), number(missed), "");
    figures.add("panel", format!("a change on {what}, median"), None, quantile(&mut late, 0.5), "s");
    figures.add("panel", format!("a change on {what}, p99"), Some("< 1"), quantile(&mut late, 0.99), "s");
}

fn events(world: &World, from: usize) -> Vec<Value> {
    let bytes = std::fs::read(world.plane().audit_log_path().unwrap()).unwrap();
    let text = String::from_utf8_lossy(&bytes[from..]).into_owned();
    let events = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    events.filter(|event| event["user"]["username"] == USER).collect()
}

/// How many watches of the panel are open at the API server now.
fn watches(world: &World, from: usize) -> usize {
    let mut open = BTreeSet::new();
    for event in events(world, from).into_iter().filter(|event| event["verb"] == "watch") {
        let id = event["auditID"].as_str().unwrap_or_default().to_owned();
        match event["stage"].as_str() {
            Some("ResponseStarted") => drop(open.insert(id)),
            _ => drop(open.remove(&id)),
        }
    }
    open.len()
}

/// What the panel has asked of the API server.
fn calls(world: &World, from: usize) -> BTreeMap<String, usize> {
    let mut calls = BTreeMap::new();
    for event in events(world, from).into_iter().filter(|event| event["stage"] == "ResponseComplete") {
        let resource = event["objectRef"]["resource"].as_str().unwrap_or_default();
        let verb = event["verb"].as_str().unwrap_or_default();
        *calls.entry(format!("{verb} {resource}")).or_default() += 1;
    }
    calls
}
