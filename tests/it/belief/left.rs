//! What is left behind by a FlagSet that is gone, as far as that can be told: anybody can mark a ConfigMap as one of its files.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, PostParams};
use serde_json::json;
use sluice::api::FlagSet;
use sluice::flags::sha256_hex;

use super::{SHA256, SIGNATURE};
use crate::cli::act::ask;
use crate::flag_sets::{create, member, served};
use crate::support::bare::{Running, bare_space};
use crate::support::is_ready;
use crate::support::proxy::Proxy;
use crate::support::raw::object;

/// More than a FlagSet can have had outputs.
const FORGED: usize = 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_signed_file_of_a_flag_set_that_is_gone_is_lowered_however_many_others_bear_its_marks() {
    let space = bare_space("belief-left").await;
    let proxy = Proxy::start(space.client.clone(), &space.name).await;
    let controller = Running::over(&proxy);
    create(&space, &[object("FlagSet", "app", "{}"), member("one", "")]).await;
    space.until("one", "served", |status| is_ready(status) && status.exposed()).await;
    space.api::<FlagSet>().delete("app", &DeleteParams::default()).await.unwrap();
    space.until("one", "told of it", |status| !is_ready(status)).await;

    // In their order these come before the true one. Every text in them is the one that the mark tells of.
    for nth in 0..FORGED {
        let data: BTreeMap<String, String> =
            (0..30).map(|key| (format!("{key}.json"), String::new())).collect();
        let annotations = json!({
            "sluice.dev/owner": "FlagSet/belief-left/app", SHA256: sha256_hex(b""), SIGNATURE: "v1.00000000.1.00000000",
        });
        let map: ConfigMap = serde_json::from_value(json!({
            "metadata": {"name": format!("a-{nth:02}"), "labels": {"app.kubernetes.io/managed-by": "sluice"},
                "annotations": annotations},
            "data": data,
        }))
        .unwrap();
        space.api::<ConfigMap>().create(&PostParams::default(), &map).await.unwrap();
    }
    let down = ask(&["rollback", "one", "--reason", "it hurts"], &space.name).await;
    assert_eq!(down.code, 0, "{} {}", down.out, down.err);
    assert_eq!(served(&space.file("app").await.unwrap(), "one"), "all=0%");
    let written: BTreeSet<String> = proxy.asked("/configmaps/a-").into_iter().collect();
    assert!(written.len() < 20, "{written:#?}");
    controller.stop().await;
}
