//! `sluice crds`: the CustomResourceDefinitions as YAML.

use std::path::PathBuf;

use super::Failure;

/// Arguments of `sluice crds`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Write one file a kind into this folder instead
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Prints or writes the definitions.
pub fn run(args: &Args) -> Result<(), Failure> {
    let files = files()?;
    let Some(dir) = &args.dir else {
        let stream: String = files.iter().map(|(_, text)| format!("---\n{text}")).collect();
        return super::print(&stream);
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
