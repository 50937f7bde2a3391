//! A real kubelet: what an emergency is, inside of a container.

use kube::ResourceExt;
use sluice::sandbox::install_crds;

use crate::flag_sets::{create, map, member, served, set_condition, set_status};
use crate::support::bare::Running;
use crate::support::node::{self, Node};
use crate::support::raw::object;
use crate::support::{Space, eventually, is_ready};

mod installed;
mod upgraded;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emergency_is_read_inside_of_the_container_at_once_and_never_where_it_is_mounted_by_sub_path() {
    let plane = node::control_plane().await;
    let client = plane.client().unwrap();
    install_crds(&client).await.unwrap();
    let node = Node::join(&plane).await;
    let _running = Running::nudging(plane.client_config());
    let space = Space::on(client.clone(), "shop").await;
    create(&space, &[object("FlagSet", "app", "{}"), member("one", "")]).await;
    space.until("one", "ready", is_ready).await;
    let folder = node.run(&client, "shop", "folder", "app", false).await;
    let stuck = node.run(&client, "shop", "stuck", "app", true).await;
    for app in [&folder, &stuck] {
        assert_eq!(served(&app.read().await.unwrap(), "one"), "all=50%", "{}", app.name);
        assert_eq!(app.annotation("sluice.dev/flags-revision").await, None, "{}", app.name);
    }

    for trial in 1..=3 {
        let took = node::emergency(&client, "shop", "app", "one", &folder).await;
        println!("trial {trial}: the container read control {} ms after the edit", took.as_millis());
        let digest = map(&space, "app").await.annotations()["sluice.dev/sha256"][..12].to_owned();
        let annotation = folder.annotation("sluice.dev/flags-revision").await.unwrap();
        assert_eq!(annotation.split_once('.').unwrap().0, digest, "it was the nudge");
        assert_eq!(served(&stuck.read().await.unwrap(), "one"), "all=50%", "a subPath has no update");
        if trial < 3 {
            node::lift(&client, "shop", "app", "one", &folder).await;
        }
    }
    eventually("the set warns of the pod that has no update", async || {
        set_condition(&set_status(&space, "app").await, "StaleMounts").contains("ConfigMap app in Pod/stuck;")
    })
    .await;
    eventually("the pod is annotated once more", async || {
        folder.annotation("sluice.dev/flags-revision").await.is_some_and(|value| value.ends_with(".2"))
    })
    .await;
    assert_eq!(stuck.annotation("sluice.dev/flags-revision").await, None);
    assert_eq!(served(&stuck.read().await.unwrap(), "one"), "all=50%");
}
