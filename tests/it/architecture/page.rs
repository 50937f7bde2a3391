//! What `docs/architecture.md` says about the source is so.

use std::collections::BTreeSet;
use std::path::Path;

use super::{LAYERS, WRITERS, files, library, part};

const PAGE: &str = "docs/architecture.md";
/// The pages whose files and tests are looked for, and how many tests each names at least.
const PAGES: [(&str, usize); 2] = [(PAGE, 20), ("docs/reliability.md", 40)];

/// The words in backticks outside of code blocks, with their lines.
fn quoted(page: &str) -> Vec<(usize, String)> {
    let text = std::fs::read_to_string(page).unwrap();
    let (mut in_block, mut found) = (false, Vec::new());
    for (i, line) in text.lines().enumerate() {
        if line.starts_with("```") {
            in_block = !in_block;
        } else if !in_block {
            found.extend(line.split('`').skip(1).step_by(2).map(|word| (i + 1, word.to_owned())));
        }
    }
    assert!(found.len() > 50, "the page is read: {} words", found.len());
    found
}

#[test]
fn every_file_and_test_that_the_pages_name_exists() {
    let source: String = ["src", "tests"]
        .iter()
        .flat_map(|folder| files(Path::new(folder)))
        .map(|file| std::fs::read_to_string(file).unwrap())
        .collect();
    let mut missing = Vec::new();
    for (page, least) in PAGES {
        let mut tests = 0;
        for (line, word) in quoted(page) {
            let is_file =
                ["src/", "tests/", "docs/", "examples/"].iter().any(|start| word.starts_with(start));
            let is_test = word.matches('_').count() >= 3
                && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
                || word == "whatever_happens";
            tests += usize::from(is_test);
            if is_file && !Path::new(&word).exists() || is_test && !source.contains(&format!("fn {word}(")) {
                missing.push(format!("{page}:{line}: {word}"));
            }
        }
        assert!(tests > least, "{page} names its tests: {tests}");
    }
    assert!(missing.is_empty(), "these are not there: {missing:#?}");
}

#[test]
fn the_table_of_the_parts_has_every_part_in_the_order_of_imports() {
    let rows: Vec<String> = rows().into_iter().map(|row| row[0].trim_matches('`').to_owned()).collect();
    let told: Vec<&str> = rows
        .iter()
        .filter_map(|row| Some(row.strip_prefix("src/")?.trim_end_matches('/').trim_end_matches(".rs")))
        .filter(|part| LAYERS.contains(part))
        .collect();
    let program = library();
    let used: BTreeSet<usize> = program
        .modules
        .iter()
        .filter(|module| !module.path.is_empty())
        .filter_map(|module| part(module).ok())
        .collect();
    let there: Vec<&str> = used.into_iter().map(|place| LAYERS[place]).collect();
    assert_eq!(told, there);
}

#[test]
fn the_table_of_those_who_write_to_a_cluster_is_the_one_that_is_checked() {
    let told: Vec<[String; 2]> = rows()
        .into_iter()
        .filter(|row| WRITERS.iter().any(|(file, _)| row[0] == format!("`{file}`")))
        .collect();
    let told: Vec<(&str, &str)> =
        told.iter().map(|[file, what]| (file.trim_matches('`'), what.as_str())).collect();
    assert_eq!(told, WRITERS);
}

/// The rows of all tables: their first two cells.
fn rows() -> Vec<[String; 2]> {
    let text = std::fs::read_to_string(PAGE).unwrap();
    text.lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| ")?.split(" | ");
            let first = cells.next()?.to_owned();
            Some([first, cells.next()?.trim_end_matches(" |").to_owned()])
        })
        .collect()
}
