use std::future::pending;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use super::*;

const PART: Name = Name::of_process(What::Queue);

/// Lets the heart beat so often, all at once, as time would.
fn pass(watchdog: &Watchdog, beats: u64) {
    watchdog.0.heart.fetch_add(beats, Ordering::SeqCst);
}

async fn turn() {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn whoever_waits_for_what_does_not_come_is_named_and_whoever_rests_is_not() {
    let watchdog = Watchdog::default();
    let of_object = Name::of_object(What::Writer, "FlagSet a/b");
    let (stuck, rests) = (watchdog.clone(), watchdog.clone());
    let stands = tokio::spawn(async move { stuck.watch(of_object, pending::<()>()).await });
    let _rests = tokio::spawn(async move { rests.watch(PART, resting(pending::<()>())).await });
    turn().await;
    assert_eq!(watchdog.names().len(), 2);
    pass(&watchdog, 150);
    assert_eq!(watchdog.stuck(), None);
    pass(&watchdog, 1);
    let said = watchdog.stuck().unwrap();
    assert_eq!(said, "the writer of FlagSet a/b has not been heard of for 151 s");
    stands.abort();
    turn().await;
    assert_eq!((watchdog.stuck(), watchdog.names().len()), (None, 1), "what has ended is no part any more");
}

#[tokio::test]
async fn a_wait_that_is_given_up_is_no_rest_any_more() {
    let watchdog = Watchdog::default();
    let other = watchdog.clone();
    let _part = tokio::spawn(async move {
        let work = async {
            tokio::select! {
                () = resting(pending()) => {}
                () = tokio::task::yield_now() => {}
            }
            pending::<()>().await;
        };
        other.watch(PART, work).await;
    });
    turn().await;
    pass(&watchdog, 151);
    assert!(watchdog.stuck().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_blocks_a_thread_is_named_even_within_a_rest() {
    let watchdog = Watchdog::default();
    let goes_on = Arc::new(AtomicBool::new(false));
    let (other, waits) = (watchdog.clone(), goes_on.clone());
    let blocks = tokio::spawn(async move {
        let work = resting(async move {
            while !waits.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
        });
        other.watch(PART, work).await;
    });
    while watchdog.names().is_empty() {
        tokio::task::yield_now().await;
    }
    let runs = |watchdog: &Watchdog| {
        watchdog.0.parts().values().all(|part| matches!(part.pulse.signs().doing, verdict::Doing::Runs(_)))
    };
    while !runs(&watchdog) {
        tokio::task::yield_now().await;
    }
    pass(&watchdog, 61);
    assert!(watchdog.stuck().is_some());
    goes_on.store(true, Ordering::SeqCst);
    blocks.await.unwrap();
    assert_eq!(watchdog.stuck(), None);
}

#[tokio::test(start_paused = true)]
async fn what_falls_is_begun_again_named_until_it_is_steady_and_counted() {
    let watchdog = Watchdog::default();
    let (faults, begun) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let told = faults.clone();
    watchdog.start(CancellationToken::new(), move |what| {
        assert_eq!(what, What::Queue);
        told.fetch_add(1, Ordering::SeqCst);
    });
    let (other, begins) = (watchdog.clone(), begun.clone());
    let _part = tokio::spawn(async move {
        let work = || {
            let times = begins.fetch_add(1, Ordering::SeqCst);
            async move {
                assert!(times >= 2, "it falls twice");
                resting(pending()).await
            }
        };
        other.keep(PART, work).await;
    });
    clock::sleep(Duration::from_millis(3500)).await;
    assert_eq!(
        (begun.load(Ordering::SeqCst), faults.load(Ordering::SeqCst)),
        (3, 2),
        "after 1 s and 2 s more"
    );
    let said = "the queue has ended by a fault of this program and is begun again";
    assert_eq!(watchdog.fallen().as_deref(), Some(said));
    clock::sleep(Duration::from_secs(61)).await;
    assert_eq!((watchdog.fallen(), watchdog.stuck()), (None, None));
}

#[tokio::test]
async fn what_belongs_to_one_object_makes_nobody_else_unready() {
    let watchdog = Watchdog::default();
    let other = watchdog.clone();
    let _part = tokio::spawn(async move {
        let fails = async || panic!("it is meant to");
        other.keep(Name::of_object(What::Writer, "x"), fails).await;
    });
    turn().await;
    assert_eq!(watchdog.0.judged().len(), 1);
    assert_eq!(watchdog.0.judged()[0].1, Verdict::Fell);
    assert_eq!(watchdog.fallen(), None);
}

#[test]
fn a_probe_names_the_first_of_many() {
    let words = |n: &usize| n.to_string();
    assert_eq!(named(&[], words), None);
    assert_eq!(named(&[1, 2], words).as_deref(), Some("1; 2"));
    assert_eq!(named(&[1, 2, 3, 4, 5, 6, 7], words).as_deref(), Some("1; 2; 3; 4; 5; and 2 more"));
}
