//! What a release is made by: workflows that a public host runs, and the manifest of the plugin for kubectl.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::go_tools::{actionlint, krew_validator};

const VERSION: &str = env!("CARGO_PKG_VERSION");

fn workflows() -> Vec<PathBuf> {
    let files: Vec<PathBuf> =
        std::fs::read_dir(".github/workflows").unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() >= 2, "{files:?}");
    files
}

fn succeeds(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}{}", said(&output.stdout), said(&output.stderr));
    output
}

#[test]
fn the_workflows_are_sound() {
    succeeds(Command::new(actionlint()).args(["-shellcheck=", "-pyflakes="]).args(workflows()));
}

#[test]
fn every_action_is_pinned_to_a_commit_and_no_job_may_more_than_it_says() {
    for file in workflows() {
        let text = std::fs::read_to_string(&file).unwrap();
        let uses: Vec<&str> =
            text.lines().filter_map(|line| line.split_once("uses: ").map(|(_, what)| what)).collect();
        assert!(!uses.is_empty());
        for action in uses {
            let (commit, version) = action.split_once('@').unwrap().1.split_once(" # v").unwrap_or(("", ""));
            let is_commit = commit.len() == 40 && commit.chars().all(|c| c.is_ascii_hexdigit());
            assert!(is_commit && !version.is_empty(), "{}: {action}", file.display());
        }
        let workflow: Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(workflow["permissions"], json!({"contents": "read"}), "{}", file.display());
        for (name, job) in workflow["jobs"].as_object().unwrap() {
            assert!(job["runs-on"].is_string(), "{name}");
            let checkouts = job["steps"].as_array().unwrap().iter().filter(|step| {
                step["uses"].as_str().is_some_and(|action| action.starts_with("actions/checkout@"))
            });
            for step in checkouts {
                assert_eq!(step["with"]["persist-credentials"], false, "{name} leaves no token behind");
            }
        }
    }
}

#[test]
fn krew_takes_the_manifest_of_a_release() {
    let folder = tempfile::tempdir().unwrap();
    let platforms = [("linux", "amd64"), ("linux", "arm64"), ("darwin", "amd64"), ("darwin", "arm64")];
    let archive = |os: &str, arch: &str| format!("sluice_{VERSION}_{os}_{arch}.tar.gz");
    for (os, arch) in platforms {
        std::fs::write(folder.path().join(archive(os, arch)), format!("{os} {arch}")).unwrap();
    }
    std::fs::write(folder.path().join("sluice_9.9.9_linux_amd64.tar.gz"), "of another release").unwrap();
    let printed = succeeds(&mut manifest(folder.path(), VERSION)).stdout;
    let file = folder.path().join("sluice.yaml");
    std::fs::write(&file, &printed).unwrap();
    succeeds(Command::new(krew_validator()).arg("-skip-install").arg("-manifest").arg(&file));

    let manifest: Value = serde_saphyr::from_str(&String::from_utf8(printed).unwrap()).unwrap();
    let described = manifest["spec"]["platforms"].as_array().unwrap();
    assert_eq!(described.len(), platforms.len());
    for (os, arch) in platforms {
        let name = archive(os, arch);
        let one =
            described.iter().find(|one| one["selector"]["matchLabels"] == json!({"os": os, "arch": arch}));
        let one = one.unwrap_or_else(|| panic!("{os} {arch}"));
        assert_eq!(one["uri"], format!("https://releases.example.com/v{VERSION}/{name}"));
        let digest = Sha256::digest(format!("{os} {arch}"));
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(one["sha256"], digest);
    }
    assert_eq!(manifest["spec"]["version"], format!("v{VERSION}"));
}

#[test]
fn there_is_no_manifest_without_archives() {
    let folder = tempfile::tempdir().unwrap();
    let output = manifest(folder.path(), VERSION).output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("no archive of version"));
}

fn manifest(folder: &Path, version: &str) -> Command {
    let mut command = Command::new("deploy/krew/manifest");
    command.arg(version).arg(folder);
    command.args([&format!("https://releases.example.com/v{version}"), "https://sluice.example.com"]);
    command
}
