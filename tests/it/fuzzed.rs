//! The targets of `fuzz/`, for a moment each: what is stored of them, which has every input that once found something, and
//! changes of it.

use std::panic::catch_unwind;
use std::path::Path;
use std::time::Duration;

use sluice::clock::monotonic;

#[path = "../../fuzz/src/targets.rs"]
mod targets;

/// How long each target is given changed inputs, if `SLUICE_FUZZ_MS` says nothing else; `SLUICE_FUZZ_TARGETS` names those that are run,
/// with commas between them.
const FOR_MS: u64 = 250;
/// Most time of a processor that one input may take in a build without optimisation. What else the machine does meanwhile is of no
/// account.
const LONGEST: Duration = Duration::from_secs(5);
/// A thread's stack in the controller.
const STACK: usize = 2 << 20;

fn stored(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    files.into_iter().map(|file| std::fs::read(file).unwrap()).collect()
}

/// Runs a target; fails with the input where it panics or takes long.
fn run(target: fn(&[u8]), input: &[u8], seed: u64) {
    let begun = monotonic();
    let ended = catch_unwind(|| target(input));
    let shown = input.escape_ascii().to_string();
    assert!(ended.is_ok(), "seed {seed}, input {shown}");
    if begun.elapsed() > LONGEST {
        let before = used();
        target(input);
        let took = used() - before;
        assert!(took < LONGEST, "{took:?}, seed {seed}, input {shown}");
    }
}

/// What this thread has used of the processors: the user's and the system's time, in hundredths of a second (proc_pid_stat(5)).
fn used() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
    let (_, after_name) = stat.rsplit_once(')').unwrap();
    let ticks = after_name.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap());
    Duration::from_millis(10 * ticks.sum::<u64>())
}

/// Another input, made of one or two.
fn changed(inputs: &[Vec<u8>], random: &mut fastrand::Rng) -> Vec<u8> {
    let mut input = inputs[random.usize(..inputs.len())].clone();
    for _ in 0..=random.usize(..4) {
        let at = random.usize(..=input.len());
        let end = random.usize(at..=input.len().min(at + 16));
        match random.u8(..6) {
            0 => input.splice(at..end, []).for_each(drop),
            1 => input.insert(at, random.u8(..)),
            2 => {
                let piece = input[at..end].repeat(random.usize(1..200));
                input.splice(at..at, piece).for_each(drop);
            }
            3 => {
                let words: [&[u8]; 12] = [
                    b"-1",
                    b"0",
                    b"1e308",
                    b"99999999999999999999",
                    b"\0",
                    b"\xff",
                    b"{{",
                    b"[",
                    b"(",
                    b"\"",
                    b"null",
                    b"\n",
                ];
                input.splice(at..end, words[random.usize(..words.len())].iter().copied()).for_each(drop);
            }
            4 => {
                let other = &inputs[random.usize(..inputs.len())];
                let from = random.usize(..=other.len());
                input.splice(at..end, other[from..].iter().copied()).for_each(drop);
            }
            _ => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << random.u8(..8);
                }
            }
        }
    }
    input.truncate(8192);
    input
}

fn look(name: &str) {
    let (_, target) = *targets::TARGETS.iter().find(|(known, _)| *known == name).unwrap();
    let inputs = stored(name);
    let number = |variable: &str| std::env::var(variable).ok().and_then(|value| value.parse::<u64>().ok());
    let seed = number("PROPTEST_RNG_SEED").unwrap_or(7);
    let length = Duration::from_millis(number("SLUICE_FUZZ_MS").unwrap_or(FOR_MS));
    let work = move || {
        inputs.iter().for_each(|input| run(target, input, seed));
        let mut random = fastrand::Rng::with_seed(seed);
        let (begun, mut tried) = (monotonic(), inputs.len());
        while begun.elapsed() < length {
            run(target, &changed(&inputs, &mut random), seed);
            tried += 1;
        }
        tried
    };
    // A stack that runs over ends the whole program of tests, with the thread's name.
    let thread = std::thread::Builder::new().name(format!("fuzzed {name}")).stack_size(STACK);
    match thread.spawn(work).unwrap().join() {
        Ok(tried) => println!("{name}: {tried} inputs"),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

#[test]
fn every_reader_of_what_others_wrote_takes_whatever_it_is_given() {
    let only = std::env::var("SLUICE_FUZZ_TARGETS").ok();
    let is_wanted = |name: &str| only.as_ref().is_none_or(|only| only.split(',').any(|one| one == name));
    for (name, _) in targets::TARGETS.iter().filter(|(name, _)| is_wanted(name)) {
        look(name);
    }
}
