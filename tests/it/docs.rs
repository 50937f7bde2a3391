//! Every command in README and the documentation is one: `sluice` understands it, and what needs nothing but the examples of this
//! repository runs as it stands. Commands that ask a cluster, and those of other programs, are the reader's to run.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::process::sluice_binary;

/// Folders with pages, besides the pages at the top.
const FOLDERS: [&str; 4] = ["docs", "examples", "charts", "deploy"];
/// Commands that ask no cluster: with files of `examples/` they are run.
const OFFLINE: [&str; 5] = ["lint", "plan", "simulate", "render", "evaluate"];
/// Other programs that pages tell people to run.
const OTHERS: [&str; 23] = [
    "argocd",
    "cargo",
    "cat",
    "mkdir",
    "cd",
    "cp",
    "curl",
    "docker",
    "dotnet",
    "echo",
    "export",
    "flux",
    "git",
    "go",
    "head",
    "helm",
    "java",
    "kubectl",
    "kustomize",
    "mvn",
    "node",
    "npm",
    "python3",
];
/// Words in capitals that stand for a value of some form; others, such as `ROLLOUT`, will do as they are.
const PLACEHOLDERS: [(&str, &str); 5] =
    [("PERCENT", "5%"), ("TIME", "2025-09-08T09:00:00Z"), ("DURATION", "5m"), ("JSON", "{}"), ("N", "60")];

/// A command as a page gives it.
#[derive(Debug)]
struct Shown {
    /// Page and line.
    place: String,
    /// The line, with those that continue it.
    text: String,
}

fn pages() -> Vec<PathBuf> {
    fn below(folder: &Path, found: &mut Vec<PathBuf>) {
        let mut entries: Vec<PathBuf> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        for path in entries {
            if path.is_dir() && path.file_name().is_none_or(|name| name != "node_modules" && name != "target")
            {
                below(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = vec![root.join("README.md")];
    FOLDERS.iter().for_each(|folder| below(&root.join(folder), &mut found));
    found
}

/// The commands of a page: in blocks of a console the lines with a prompt, in blocks without a language and in those of a
/// shell the lines that begin with a program that we know.
fn commands(page: &Path) -> Vec<Shown> {
    let text = std::fs::read_to_string(page).unwrap();
    let name = page.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap().display().to_string();
    let mut block: Option<&str> = None;
    let mut found: Vec<Shown> = Vec::new();
    let mut open = false;
    for (i, line) in text.lines().enumerate() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            block = if block.is_some() { None } else { Some(language.trim()) };
            open = false;
            continue;
        }
        let Some(language) = block.filter(|language| ["", "console", "sh", "bash"].contains(language)) else {
            continue;
        };
        if open {
            let last = found.last_mut().unwrap();
            last.text.push(' ');
            last.text.push_str(line.trim().trim_end_matches('\\'));
            open = line.ends_with('\\');
            continue;
        }
        let prompted = line.strip_prefix("$ ");
        let bare =
            (language != "console" || !text_has_prompt(&text, i)).then_some(line).filter(|line| begins(line));
        let Some(command) = prompted.or(bare) else { continue };
        open = command.ends_with('\\');
        found.push(Shown {
            place: format!("{name}:{}", i + 1),
            text: command.trim_end_matches('\\').to_owned(),
        });
    }
    found
}

/// Whether the block around a line has a prompt somewhere: then what has none is output.
fn text_has_prompt(text: &str, line: usize) -> bool {
    let lines: Vec<&str> = text.lines().collect();
    let fence = |line: &&&str| line.trim_start().starts_with("```");
    let before = lines[..line].iter().rev().take_while(|line| !fence(line));
    let after = lines[line..].iter().take_while(|line| !fence(line));
    before.chain(after).any(|line| line.starts_with("$ "))
}

fn begins(line: &str) -> bool {
    let first = line.split_whitespace().next().unwrap_or_default();
    first == "sluice" || first == "cargo" && line.contains(" -- ")
}

/// The arguments that a line gives to `sluice`, if it does: up to a comment, a pipe or another redirection.
fn arguments(text: &str) -> Option<Vec<String>> {
    let plain = usage(text);
    let words = shlex::split(&plain).unwrap_or_else(|| panic!("quotes do not match: {text}"));
    let end = words.iter().position(|word| ["|", ">", "<", "&&", "||", ";", "&"].contains(&word.as_str()));
    let words = &words[..end.unwrap_or(words.len())];
    let start = match words.first()?.as_str() {
        "sluice" => 1,
        "kubectl" if words.get(1).is_some_and(|word| word == "sluice") => 2,
        "cargo" if words.get(1).is_some_and(|word| word == "run") => {
            1 + words.iter().position(|word| word == "--")?
        }
        _ => return None,
    };
    let filled = words[start..].iter().map(|word| {
        let (name, value) = word.split_once('=').map_or(("", word.as_str()), |(name, value)| (name, value));
        let known =
            PLACEHOLDERS.iter().find(|(placeholder, _)| *placeholder == value).map(|(_, value)| *value);
        match known {
            Some(known) if name.is_empty() => known.to_owned(),
            Some(known) => format!("{name}={known}"),
            None => word.clone(),
        }
    });
    Some(filled.collect())
}

/// A synopsis as one command that it stands for: with everything that may be left out, and the first of several.
fn usage(text: &str) -> String {
    let is_synopsis = text.contains(" [") && text.contains(']') && !text.contains('{');
    if !is_synopsis {
        return text.to_owned();
    }
    let words = text.replace(['[', ']'], " ").replace("...", " ");
    let first = |word: &str| word.split('|').next().unwrap_or_default().to_owned();
    words.split_whitespace().map(first).collect::<Vec<_>>().join(" ")
}

fn all() -> Vec<(Shown, Vec<String>)> {
    let shown = pages().iter().flat_map(|page| commands(page)).collect::<Vec<_>>();
    shown.into_iter().filter_map(|shown| arguments(&shown.text).map(|arguments| (shown, arguments))).collect()
}

/// The copies in the repository are what the program prints of its own kinds.
#[test]
fn the_reference_in_the_repository_is_that_of_the_kinds() {
    for (name, page) in sluice::api::reference::pages() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference").join(name);
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            kept == page,
            "{} is old: run `sluice crds -o markdown --dir docs/reference`",
            path.display()
        );
    }
}

#[test]
fn every_command_of_the_pages_is_understood() {
    let mut wrong = Vec::new();
    let all = all();
    assert!(all.len() > 25, "the pages are read: {}", all.len());
    for (shown, arguments) in &all {
        if let Err(error) = sluice::cli::understands(arguments) {
            wrong.push(format!("{}: {}\n{error}", shown.place, shown.text));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_pages_tell_people_to_run_is_sluice_or_a_known_program() {
    let prompted = pages().into_iter().flat_map(|page| commands(&page));
    let strange: Vec<String> = prompted
        .filter(|shown| {
            let words = shown.text.split_whitespace();
            let mut words =
                words.skip_while(|word| word.contains('=') && word.starts_with(|c: char| c.is_uppercase()));
            let first = words.next().unwrap_or_default();
            let own = first.starts_with("venv/") || first.starts_with("./") || first == "sluice";
            !own && !OTHERS.contains(&first)
        })
        .map(|shown| format!("{}: {}", shown.place, shown.text))
        .collect();
    assert!(strange.is_empty(), "{strange:#?}");
}

#[test]
fn every_command_with_files_of_the_examples_runs_as_it_stands() {
    let mut run = Vec::new();
    for (shown, arguments) in all() {
        let offline = arguments.first().is_some_and(|command| OFFLINE.contains(&command.as_str()));
        if !offline || !arguments.iter().any(|argument| argument.starts_with("examples")) {
            continue;
        }
        let output = Command::new(sluice_binary())
            .args(&arguments)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env_remove("KUBECONFIG")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{}: {}\n{said}", shown.place, shown.text);
        // Nothing was wrong with the files of `lint`, so that it may have nothing to say.
        assert!(!output.stdout.is_empty() || arguments[0] == "lint", "{}: {}", shown.place, shown.text);
        run.push(arguments[0].clone());
    }
    for command in OFFLINE {
        assert!(run.iter().any(|ran| ran == command), "no page shows {command} with the examples");
    }
}

#[test]
fn every_link_between_pages_leads_to_a_file() {
    let mut broken = Vec::new();
    let mut links = 0;
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap_or_default();
            if file.is_empty() || file.contains("://") || file.contains(char::is_whitespace) {
                continue;
            }
            links += 1;
            if !page.parent().unwrap().join(file).exists() {
                broken.push(format!("{}: {target}", page.display()));
            }
        }
    }
    assert!(links > 40, "the pages are read: {links}");
    assert!(broken.is_empty(), "{broken:#?}");
}

/// The site has the pages that `docs/SUMMARY.md` lists: a page that is not there is on no menu.
#[test]
fn the_site_has_every_page_once() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let summary = std::fs::read_to_string(root.join("SUMMARY.md")).unwrap();
    let listed = summary.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let mut listed: Vec<PathBuf> = listed.map(|page| root.join(page)).collect();
    listed.sort();
    let of_site = |page: &PathBuf| page.starts_with(&root) && !page.ends_with("SUMMARY.md");
    let mut written: Vec<PathBuf> = pages().into_iter().filter(of_site).collect();
    written.sort();
    assert_eq!(listed, written);
}

/// Links from a page to files that the site does not have lead to the repository, others stay as they are.
#[test]
fn links_out_of_the_site_lead_to_the_repository() {
    let chapter = |path: &str, content: &str| serde_json::json!({"Chapter": {"path": path, "content": content, "sub_items": []}});
    let text = "[a](../../examples/app#x) [b](../gitops.md#y) [c](java.md) [d](https://a.example/../b) [f](README.md#z) [g](../README.md) \
                [h](../../README.md) [i](https://a.example/README.md)";
    let mut outer = chapter("apps/README.md", text);
    outer["Chapter"]["sub_items"] =
        serde_json::json!([chapter("gitops.md", "[e](../deploy/flux)"), "Separator"]);
    let book = serde_json::json!([{}, {"items": [outer]}]);
    let mut command = Command::new("deploy/site/outside");
    command
        .env("SITE_REPOSITORY", "https://host.example/o/n/blob/main/")
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    let mut child =
        command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
    serde_json::to_writer(child.stdin.take().unwrap(), &book).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let book: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let chapter = &book["items"][0]["Chapter"];
    let there = "https://host.example/o/n/blob/main";
    // A README of a folder is the index of that folder in the site; that of the repository is not in it.
    let mended = format!(
        "[a]({there}/examples/app#x) [b](../gitops.md#y) [c](java.md) [d](https://a.example/../b) [f](index.md#z) [g](../index.md) \
         [h]({there}/README.md) [i](https://a.example/README.md)"
    );
    assert_eq!(chapter["content"], mended);
    assert_eq!(chapter["sub_items"][0]["Chapter"]["content"], format!("[e]({there}/deploy/flux)"));
}
