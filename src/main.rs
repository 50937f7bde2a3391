//! The `sluice` command.

fn main() {
    let crds = sluice::api::all_crds();
    println!("{}", serde_json::to_string_pretty(&crds).unwrap_or_default());
}
