//! Reads Rust source as the compiler's lexer does, and says which files belong to a program and which paths each names.
//!
//! Tokens are enough for that, and they see what a syntax tree does not: paths inside of macros.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A module of a program.
#[derive(Debug, Default)]
pub struct Module {
    /// Names from the crate's root on; empty for the root.
    pub path: Vec<String>,
    /// The file it is written in; several modules may share one.
    pub file: PathBuf,
    /// Whether it is compiled for tests only.
    pub is_test: bool,
    /// What it names, without what is for tests only.
    pub names: Vec<Name>,
    children: Vec<String>,
}

/// A path as it is written, with the groups of `use` taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// Its parts. `*` is the last one of a glob.
    pub parts: Vec<String>,
    /// Where it stands, from 1.
    pub line: usize,
}

/// All modules of a program.
#[derive(Debug, Default)]
pub struct Program {
    pub modules: Vec<Module>,
    /// Where in `modules` a path is.
    places: BTreeMap<Vec<String>, usize>,
}

impl Program {
    /// The program whose root file this is.
    pub fn read(root: &Path) -> Program {
        let mut program = Program::default();
        program.file(root, root.parent().unwrap(), Vec::new(), false);
        program
    }

    /// A program of one file with this text.
    pub fn of_text(text: &str) -> Program {
        let mut program = Program::default();
        program.text(text, Path::new("src/lib.rs"), Path::new("src"), Vec::new(), false);
        program
    }

    fn file(&mut self, file: &Path, folder: &Path, path: Vec<String>, is_test: bool) {
        let text = std::fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        self.text(&text, file, folder, path, is_test);
    }

    fn text(&mut self, text: &str, file: &Path, folder: &Path, path: Vec<String>, is_test: bool) {
        let tokens: TokenStream = text.parse().unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        self.module(tokens, file, folder, path, is_test);
    }

    /// Reads a module. Its submodules' files are in `folder`.
    fn module(&mut self, tokens: TokenStream, file: &Path, folder: &Path, path: Vec<String>, is_test: bool) {
        let mut module = Module { path, file: file.to_owned(), is_test, ..Module::default() };
        let mut submodules = Vec::new();
        scan(tokens, &mut module, &mut submodules);
        let path = module.path.clone();
        self.places.insert(path.clone(), self.modules.len());
        self.modules.push(module);
        for Submodule { name, body, place, for_tests } in submodules {
            let is_test = is_test || for_tests;
            let path = [path.clone(), vec![name.clone()]].concat();
            if let Some(body) = body {
                self.module(body, file, &folder.join(&name), path, is_test);
            } else if let Some(place) = place {
                let place = file.parent().unwrap().join(place);
                self.file(&place, place.parent().unwrap(), path, is_test);
            } else {
                let beside = folder.join(format!("{name}.rs"));
                let inside = folder.join(&name).join("mod.rs");
                let found = if beside.exists() { beside } else { inside };
                self.file(&found, &folder.join(&name), path, is_test);
            }
        }
    }

    /// The module that a name of another module leads to, if it is one of this program or something in one.
    pub fn target(&self, from: &Module, name: &Name) -> Option<&Module> {
        let mut path = from.path.clone();
        let mut parts = name.parts.as_slice();
        match parts[0].as_str() {
            "crate" => (path, parts) = (Vec::new(), &parts[1..]),
            "self" => parts = &parts[1..],
            "super" => {
                while parts.first().is_some_and(|part| part == "super") {
                    path.pop();
                    parts = &parts[1..];
                }
            }
            first if from.children.iter().any(|child| child == first) => {}
            _ => return None,
        }
        let mut found = self.places.get(&path);
        for part in parts {
            path.push(part.clone());
            match self.places.get(&path) {
                Some(place) => found = Some(place),
                None => break,
            }
        }
        found.map(|place| &self.modules[*place])
    }
}

struct Submodule {
    name: String,
    /// Its text, if it is not in a file of its own.
    body: Option<TokenStream>,
    /// Where its file is, if not where it is looked for.
    place: Option<String>,
    for_tests: bool,
}

/// What the attributes before an item say of it.
#[derive(Default)]
struct Marks {
    for_tests: bool,
    place: Option<String>,
}

fn scan(tokens: TokenStream, module: &mut Module, submodules: &mut Vec<Submodule>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut marks = Marks::default();
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at] {
            TokenTree::Punct(punct) if punct.as_char() == '#' => {
                if let Some(TokenTree::Group(group)) = tokens.get(at + 1) {
                    mark(group.stream(), &mut marks);
                    scan(group.stream(), module, submodules);
                    at += 1;
                }
                at += 1;
            }
            TokenTree::Ident(word) if *word == "mod" && is_word(&tokens, at + 1) => {
                let marks = std::mem::take(&mut marks);
                let name = tokens[at + 1].to_string();
                let body = match tokens.get(at + 2) {
                    Some(TokenTree::Group(group)) => Some(group.stream()),
                    _ => None,
                };
                module.children.push(name.clone());
                submodules.push(Submodule { name, body, place: marks.place, for_tests: marks.for_tests });
                at += 3;
            }
            TokenTree::Ident(word) if word.to_string().starts_with("pub") => {
                // Whom it is public for says nothing about what it is.
                at += 1;
                if let Some(TokenTree::Group(group)) = tokens.get(at)
                    && group.delimiter() == Delimiter::Parenthesis
                {
                    at += 1;
                }
            }
            _ if marks.for_tests => {
                // An item that only tests see: to its body or its end.
                at = end_of_item(&tokens, at);
                marks = Marks::default();
            }
            TokenTree::Ident(word) if *word == "use" => {
                let end = end_at(&tokens, at, ';');
                tree(&tokens[at + 1..end], &[], &mut module.names);
                marks = Marks::default();
                at = end + 1;
            }
            TokenTree::Ident(word) => {
                let line = word.span().start().line;
                let (mut parts, next) = path_at(&tokens, at);
                let is_macro =
                    is_punct(&tokens, next, '!') && matches!(tokens.get(next + 1), Some(TokenTree::Group(_)));
                if let (true, Some(last)) = (is_macro, parts.last_mut()) {
                    last.push('!');
                }
                if parts.len() > 1 || is_macro && !parts.is_empty() {
                    module.names.push(Name { parts, line });
                }
                marks = Marks::default();
                at = next;
            }
            TokenTree::Group(group) => {
                scan(group.stream(), module, submodules);
                at += 1;
            }
            TokenTree::Punct(_) | TokenTree::Literal(_) => at += 1,
        }
    }
}

fn mark(attribute: TokenStream, marks: &mut Marks) {
    let text: String = attribute.to_string().split_whitespace().collect();
    marks.for_tests |= text == "cfg(test)" || text.starts_with("cfg(all(test,");
    if let Some(place) = text.strip_prefix("path=") {
        marks.place = Some(place.trim_matches('"').to_owned());
    }
}

fn is_word(tokens: &[TokenTree], at: usize) -> bool {
    matches!(tokens.get(at), Some(TokenTree::Ident(_)))
}

fn is_punct(tokens: &[TokenTree], at: usize, wanted: char) -> bool {
    matches!(tokens.get(at), Some(TokenTree::Punct(punct)) if punct.as_char() == wanted)
}

fn end_at(tokens: &[TokenTree], from: usize, wanted: char) -> usize {
    (from..tokens.len()).find(|at| is_punct(tokens, *at, wanted)).unwrap_or(tokens.len())
}

fn end_of_item(tokens: &[TokenTree], from: usize) -> usize {
    let ends = |at: &usize| {
        is_punct(tokens, *at, ';')
            || matches!(&tokens[*at], TokenTree::Group(group) if group.delimiter() == Delimiter::Brace)
    };
    (from..tokens.len()).find(ends).map_or(tokens.len(), |at| at + 1)
}

/// The path that begins here, and where it ends.
fn path_at(tokens: &[TokenTree], from: usize) -> (Vec<String>, usize) {
    let mut parts = vec![tokens[from].to_string()];
    let mut at = from + 1;
    while is_punct(tokens, at, ':') && is_punct(tokens, at + 1, ':') && is_word(tokens, at + 2) {
        parts.push(tokens[at + 2].to_string());
        at += 3;
    }
    // What follows `<T>::` is the rest of a path, not the beginning of one.
    let after_type = from > 2 && is_punct(tokens, from - 1, ':') && is_punct(tokens, from - 3, '>');
    if after_type { (Vec::new(), at) } else { (parts, at) }
}

/// The paths of a `use`.
fn tree(tokens: &[TokenTree], before: &[String], names: &mut Vec<Name>) {
    let mut parts = before.to_vec();
    let mut line = 0;
    for token in tokens {
        match token {
            TokenTree::Ident(word) if *word == "as" => break,
            TokenTree::Ident(word) => {
                line = word.span().start().line;
                parts.push(word.to_string());
            }
            TokenTree::Punct(punct) if punct.as_char() == '*' => {
                line = punct.span().start().line;
                parts.push("*".to_owned());
            }
            TokenTree::Group(group) => {
                let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                for part in inner.split(|token| matches!(token, TokenTree::Punct(p) if p.as_char() == ',')) {
                    if !part.is_empty() {
                        tree(part, &parts, names);
                    }
                }
                return;
            }
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
    // `use a::{self}` names `a`.
    if parts.last().is_some_and(|last| last == "self") && parts.len() > 1 {
        parts.pop();
    }
    names.push(Name { parts, line });
}

/// The guards see nothing where this reader sees nothing.
#[test]
fn the_reader_of_source_sees_every_spelling_of_a_name() {
    let program = Program::of_text(
        r#"
        use kube::{Client, api::{Api, self}, runtime as r};
        use std::{env, fs::*};
        pub(crate) use ::tokio;
        mod inner {
            fn f() -> super::Inner { super::super_thing() }
            #[cfg(test)]
            mod tests { use reqwest::Client; }
        }
        // use a::comment;
        const TEXT: &str = "use a::string;"; // and 'a
        #[cfg(test)]
        use a::test;
        #[cfg(test)]
        pub fn helper() { a::test_only() }
        #[derive(serde::Serialize)]
        struct S<'a> { at: &'a jiff::Timestamp }
        fn g() -> crate::inner::T {
            format!("{}", crate::clock::real_now());
            println!("{:?}", <T as std::str::FromStr>::from_str("x"));
            x.map(Timestamp::now)
        }
        "#,
    );
    let names = |path: &[&str]| -> Vec<String> {
        let module = program.modules.iter().find(|module| module.path == path && !module.is_test).unwrap();
        module.names.iter().map(|name| name.parts.join("::")).collect()
    };
    assert_eq!(
        names(&[]),
        [
            "kube::Client",
            "kube::api::Api",
            "kube::api",
            "kube::runtime",
            "std::env",
            "std::fs::*",
            "tokio",
            "serde::Serialize",
            "jiff::Timestamp",
            "crate::inner::T",
            "format!",
            "crate::clock::real_now",
            "println!",
            "std::str::FromStr",
            "Timestamp::now",
        ]
    );
    assert_eq!(names(&["inner"]), ["super::Inner", "super::super_thing"]);
    let target = |from: &[&str], name: &str| {
        let from = program.modules.iter().find(|module| module.path == from).unwrap();
        let parts = name.split("::").map(str::to_owned).collect();
        program.target(from, &Name { parts, line: 0 }).map(|module| module.path.join("::"))
    };
    assert_eq!(target(&[], "inner::T"), Some("inner".to_owned()));
    assert_eq!(target(&["inner"], "super::T"), Some(String::new()));
    assert_eq!(target(&["inner"], "crate::inner::tests::x"), Some("inner::tests".to_owned()));
    assert_eq!(target(&[], "kube::Client"), None);
    for (name, is_pure) in [
        ("jiff::Timestamp", true),
        ("Timestamp::now", false),
        ("jiff::tz::TimeZone::system", false),
        ("std::time::Instant::now", false),
        ("std::time::Instant", true),
        ("crate::clock::real_now", false),
        ("crate::clock::monotonic", false),
        ("std::env", false),
        ("std::sync::Mutex", false),
        ("kube::Client", false),
        ("println!", false),
        ("serde_json::json!", true),
    ] {
        let name = Name { parts: name.split("::").map(str::to_owned).collect(), line: 0 };
        assert_eq!(super::impure(&super::crates(), &name).is_none(), is_pure, "{name:?}");
    }
}
