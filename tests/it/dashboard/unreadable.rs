//! The panel in a namespace where somebody has stored what no decoder takes.

use sluice::api::Playbook;

use super::*;
use crate::support::poisons;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_cannot_be_read_is_shown_as_such_beside_the_others() {
    let (space, controller) = served("panel-unreadable").await;
    space.apply::<Playbook>(PLAN).await.unwrap();
    let panels = [(); 2].map(|()| Served::of(bare().kubeconfig(), &space.name));
    let panels = futures::future::join_all(panels).await;
    let mut browser = panels[0].entered().await;
    // Others of the same cluster are of no concern.
    let board = format!("/?namespace={}", space.name);
    browser.until(&board, "Dreams").await;
    // While it watches, and from the first list on.
    poisons::store_valid(&space.client, &space.name).await;
    let nested = format!("/rollouts/{}/nested", space.name);
    for panel in &panels {
        if !std::ptr::eq(panel, &panels[0]) {
            browser = panel.entered().await;
        }
        let list = browser.until(&board, &nested).await.text;
        assert!(
            list.contains("Dreams") && list.contains(&format!("/rollouts/{}/record", space.name)),
            "{list}"
        );
        assert!(list.contains("nested more than 127 levels deep"), "{list}");
    }
    let page = browser.get(&nested).await.text;
    assert!(page.contains("cannot be read") && page.contains("spec.feature.variants"), "{page}");
    let page = browser.get(&format!("/files/{}/flagset/nested", space.name)).await.text;
    assert!(page.contains("FlagSet nested cannot be read"), "{page}");
    let plan = browser
        .until(&format!("/playbooks/{}/maya", space.name), "FeatureRollout nested cannot be read")
        .await;
    assert!(plan.text.contains("The plan of Maya"), "{}", plan.text);
    controller.stop().await;
}
