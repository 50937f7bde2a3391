//! The image, as far as it can be judged without an engine that builds it.

use std::path::{Component, Path, PathBuf};

#[test]
fn the_image_is_built_with_the_toolchain_of_the_tests_and_runs_as_nobody() {
    let file = std::fs::read_to_string("Dockerfile").unwrap();
    let toolchain = std::fs::read_to_string("rust-toolchain.toml").unwrap();
    let channel =
        toolchain.lines().find_map(|line| line.strip_prefix("channel = ")).unwrap().trim_matches('"');
    assert!(file.contains(&format!("ARG BUILDER=rust:{channel}-alpine")), "{channel}");
    assert!(file.contains(&format!("ARG VERSION={}", env!("CARGO_PKG_VERSION"))));
    let last = file.rsplit("\nFROM ").next().unwrap();
    assert!(last.starts_with("scratch\n") && last.contains("\nUSER 65532:65532\n"), "{last}");
}

/// What is left out of the context cannot be compiled in.
#[test]
fn whatever_the_program_takes_in_is_in_the_context_of_the_build() {
    let ignore = std::fs::read_to_string(".dockerignore").unwrap();
    let kept: Vec<&str> = ignore.lines().filter_map(|line| line.strip_prefix('!')).collect();
    let mut taken: Vec<PathBuf> =
        ["Cargo.toml", "Cargo.lock", ".cargo/config.toml", "README.md"].map(PathBuf::from).into();
    let mut folders = vec![PathBuf::from("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            // Tests are not compiled into an image.
            if path.extension().is_some_and(|e| e == "rs") && !path.iter().any(|part| part == "tests") {
                let text = std::fs::read_to_string(&path).unwrap();
                let included =
                    text.split("include_str!(\"").skip(1).filter_map(|rest| rest.split('"').next());
                taken.extend(included.map(|file| plain(&path.with_file_name(file))));
            }
            taken.push(path);
        }
    }
    assert!(taken.iter().any(|path| path.starts_with("tests")), "the Go module is found");
    let lost: Vec<_> = taken
        .iter()
        .filter(|path| !path.exists() || !kept.iter().any(|kept| path.starts_with(kept)))
        .collect();
    assert!(lost.is_empty(), "{lost:?}");
}

/// Without `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        if part == Component::ParentDir {
            plain.pop();
        } else {
            plain.push(part);
        }
    }
    plain
}
