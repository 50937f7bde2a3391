//! `sluice crds`: the CustomResourceDefinitions, and the admission policies, as YAML, or the reference as Markdown.

use std::path::PathBuf;

use crate::api::{policies, reference};
use crate::cli::output::{self, Failure};

/// Arguments of `sluice crds`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Write one file a kind into this folder instead
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Also the admission policies that say who asks for an action, and who may
    #[arg(long, conflicts_with = "output")]
    with_policies: bool,
    /// Form of the output
    #[arg(short, long, value_enum, default_value = "yaml")]
    output: Form,
}

/// Form of the output.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// What `kubectl apply` takes
    Yaml,
    /// The reference: a page a kind, with every field
    Markdown,
}

/// Prints or writes the definitions.
pub fn run(args: &Args) -> Result<(), Failure> {
    let mut files = match args.output {
        Form::Yaml => files()?,
        Form::Markdown => reference::pages(),
    };
    if args.with_policies {
        let policies = policies::FILES.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        files.extend(policies);
    }
    let Some(dir) = &args.dir else {
        let start = if args.output == Form::Yaml { "---\n" } else { "" };
        let stream: String = files.iter().map(|(_, text)| format!("{start}{text}")).collect();
        return output::print_exact(&stream);
    };
    let write = || -> std::io::Result<()> {
        std::fs::create_dir_all(dir)?;
        files.iter().try_for_each(|(name, text)| std::fs::write(dir.join(name), text))
    };
    write().map_err(|error| Failure::Input(format!("{}: {error}", dir.display())))
}

/// File name and content of each definition.
fn files() -> Result<Vec<(String, String)>, Failure> {
    let mut files = Vec::new();
    for crd in crate::api::all_crds() {
        // Through a JSON value: its keys are sorted, so the same definitions give the same bytes.
        let text = serde_json::to_value(&crd)
            .map_err(|error| error.to_string())
            .and_then(|value| serde_saphyr::to_string(&value).map_err(|error| error.to_string()))
            .map_err(Failure::Input)?;
        files.push((format!("{}_{}.yaml", crd.spec.group, crd.spec.names.plural), text));
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::files;
    use crate::cli::files::yaml::documents;

    /// Whole floats as integers: `100.0` and `100` are one number in JSON.
    fn whole(value: Value) -> Value {
        match value {
            Value::Number(number) => match number.as_f64().filter(|f| f.fract() == 0.0) {
                Some(float) => Value::from(float as i64),
                None => Value::Number(number),
            },
            Value::Array(items) => items.into_iter().map(whole).collect(),
            Value::Object(map) => map.into_iter().map(|(key, value)| (key, whole(value))).collect(),
            other => other,
        }
    }

    #[test]
    fn kubectl_reads_back_what_was_meant_and_can_keep_a_copy_in_an_annotation() {
        let crds = crate::api::all_crds();
        for ((name, text), crd) in files().unwrap().iter().zip(&crds) {
            let documents = documents(text);
            assert_eq!(documents.len(), 1, "{name}");
            assert!(documents[0].problems.is_empty(), "{name}: {:?}", documents[0].problems);
            assert_eq!(documents[0].value, whole(serde_json::to_value(crd).unwrap()), "{name}");
            // kubectl's client-side apply keeps a copy in an annotation, which holds 256 KiB.
            assert!(text.len() < 200_000, "{name} has {} bytes", text.len());
        }
    }
}
