//! What a reader of the ConfigMaps sees, and when.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client};
use sluice::api::MicroTime;
use sluice::clock;
use sluice::flags;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// One version of a file.
#[derive(Clone)]
pub struct Seen {
    pub at: MicroTime,
    text: String,
}

impl Seen {
    /// What each flag of the file serves to everyone, in thousandths of a percent.
    pub fn served(&self) -> BTreeMap<String, u32> {
        let Ok(file) = flags::parse(&self.text) else { return BTreeMap::new() };
        let live = |key: &String| {
            let (_, percent) = file.live(key)?.served.into_iter().next_back()?;
            Some((key.clone(), percent.thousandths()))
        };
        file.members.keys().filter_map(live).collect()
    }
}

/// Every version of every file, in the order in which the watch told of them.
pub struct Recorder {
    seen: Arc<Mutex<Vec<Seen>>>,
    count: watch::Receiver<usize>,
    task: JoinHandle<()>,
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Recorder {
    /// Watches; what is there already is not recorded.
    pub async fn start(client: Client) -> Recorder {
        let api: Api<ConfigMap> = Api::all(client);
        let config = watcher::Config::default().labels("app.kubernetes.io/managed-by=sluice");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (told, count) = watch::channel(0);
        let (listed, heard) = tokio::sync::oneshot::channel();
        let task = tokio::spawn(record(api, config, seen.clone(), told, listed));
        heard.await.unwrap();
        Recorder { seen, count, task }
    }

    /// How many versions were seen so far.
    pub fn len(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// The versions from the one of this number on.
    pub fn since(&self, first: usize) -> Vec<Seen> {
        self.seen.lock().unwrap()[first..].to_vec()
    }

    /// When the versions from `first` on first showed what is wanted; `None` after a while.
    pub async fn until(&self, first: usize, wanted: impl Fn(&Seen) -> bool) -> Option<MicroTime> {
        let mut count = self.count.clone();
        let mut next = first;
        let found = async {
            loop {
                for seen in self.since(next) {
                    next += 1;
                    if wanted(&seen) {
                        return seen.at;
                    }
                }
                count.wait_for(|count| *count > next).await.unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(30), found).await.ok()
    }
}

async fn record(
    api: Api<ConfigMap>,
    config: watcher::Config,
    seen: Arc<Mutex<Vec<Seen>>>,
    told: watch::Sender<usize>,
    listed: tokio::sync::oneshot::Sender<()>,
) {
    let mut listed = Some(listed);
    let mut events = pin!(watcher::watcher(api, config));
    while let Some(event) = events.next().await {
        let at = clock::real_now();
        match event {
            Ok(Event::Apply(map)) => {
                let text = map.data.unwrap_or_default().remove("flags.json").unwrap_or_default();
                let mut seen = seen.lock().unwrap();
                seen.push(Seen { at, text });
                told.send_replace(seen.len());
            }
            Ok(Event::InitDone) => {
                if let Some(listed) = listed.take() {
                    listed.send(()).unwrap();
                }
            }
            Ok(_) => {}
            Err(error) => eprintln!("the watch of the benchmark broke: {error}"),
        }
    }
}
