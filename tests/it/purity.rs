//! The core decides; it does not read clocks, talk to anybody or run anything.

use std::path::{Path, PathBuf};

const PURE: [&str; 3] = ["src/plan", "src/engine", "src/flags"];
/// The pure rooms of a folder that talks to the world.
const PURE_FILES: [&str; 11] = [
    "src/sources/args.rs",
    "src/sources/breaker.rs",
    "src/sources/bucket.rs",
    "src/sources/http_json.rs",
    "src/sources/nesting.rs",
    "src/sources/prepare.rs",
    "src/sources/prometheus.rs",
    "src/sources/promql.rs",
    "src/sources/reduce.rs",
    "src/sources/request.rs",
    "src/sources/spelling.rs",
];
const WORLD: [&str; 9] = [
    "kube::Client",
    "kube::Api",
    "kube::runtime",
    "tokio",
    "reqwest",
    "std::fs",
    "std::net",
    "Instant::now",
    "Timestamp::now",
];

#[test]
fn the_core_names_no_client_no_runtime_and_no_clock() {
    let mut found = Vec::new();
    let mut files = 0;
    let folders = PURE.iter().flat_map(|folder| sources(Path::new(folder)));
    for file in folders.chain(PURE_FILES.iter().map(PathBuf::from)) {
        if is_test(&file) {
            continue;
        }
        files += 1;
        let text = std::fs::read_to_string(&file).unwrap();
        for (i, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap();
            for word in WORLD {
                if code.contains(word) {
                    found.push(format!("{}:{}: {word}", file.display(), i + 1));
                }
            }
        }
    }
    assert!(files > 20, "the folders are where they are expected: {files} files");
    assert!(found.is_empty(), "the pure core reaches into the world:\n{}", found.join("\n"));
}

#[test]
fn every_room_is_small() {
    let large: Vec<String> = sources(Path::new("src"))
        .into_iter()
        .filter_map(|file| {
            let lines = std::fs::read_to_string(&file).unwrap().lines().count();
            (lines > 500).then(|| format!("{}: {lines} lines", file.display()))
        })
        .collect();
    assert!(large.is_empty(), "split these:\n{}", large.join("\n"));
}

fn is_test(file: &Path) -> bool {
    let name = file.file_stem().unwrap().to_string_lossy();
    name.ends_with("tests") || file.parent().unwrap().ends_with("tests")
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}
