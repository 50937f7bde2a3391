//! `sluice evaluate`: the value of a flag for one user at a time.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use crate::api::MicroTime;
use crate::cli::files::{self, InputArgs, lint};
use crate::cli::flag_files::{FlagFile, choose, flag_files};
use crate::cli::output::table::table;
use crate::cli::output::{self, Failure, Output};
use crate::flags::{self, Evaluation, Hash};

/// Arguments of `sluice evaluate`.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    input: InputArgs,
    /// The time of the evaluation, RFC 3339; default: now
    #[arg(long, value_name = "TIME")]
    at: Option<MicroTime>,
    /// When rollouts without schedule.startAt begin, RFC 3339; default: now
    #[arg(long, value_name = "TIME")]
    now: Option<MicroTime>,
    /// Key of the flag
    #[arg(long, value_name = "KEY")]
    flag: String,
    /// The user: a JSON object of attributes, targetingKey among them, or @FILE that holds one
    #[arg(long, value_name = "JSON")]
    context: String,
    /// The FlagSet whose file is meant, or the rollout that has none, as NAME, fset/NAME or frol/NAME; needed where several have the flag
    #[arg(long, value_name = "NAME")]
    flag_set: Option<String>,
    /// The language of the app: between 0 % and 100 % the published evaluators choose different users
    #[arg(long, value_enum, value_name = "LANGUAGE", default_value = "rust")]
    evaluator: Evaluator,
    /// Form of the output
    #[arg(short, long, value_enum, default_value = "json")]
    output: Output,
}

/// The published evaluators.
#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum Evaluator {
    Rust,
    Python,
    Node,
    Go,
    Java,
}

impl Evaluator {
    fn hash(self) -> Hash {
        match self {
            Evaluator::Rust | Evaluator::Python => Hash::Cbor,
            Evaluator::Node => Hash::Ascii,
            Evaluator::Go => Hash::Text,
            Evaluator::Java => Hash::Percentage,
        }
    }
}

/// Prints what the user gets.
pub fn run(args: &Args) -> Result<(), Failure> {
    let context = context(&args.context)?;
    let input = files::load(&args.input)?;
    let checked = lint::check(&input).or_report()?;
    let now = args.now.unwrap_or_else(output::now);
    let files = flag_files(&checked, now, args.at.unwrap_or(now))?;
    let file = file_with(files, args)?;
    let feature = flags::announced_feature(&args.flag).filter(|feature| file.members.contains_key(feature));
    let rollout = file.members.get(args.flag.as_str()).or_else(|| file.members.get(feature?));
    let audience = rollout.map(|plan| &plan.audience);
    let hash = args.evaluator.hash();
    let evaluation = flags::evaluate_as(hash, &file.file, &args.flag, &context, audience)
        .map_err(|error| Failure::Input(error.to_string()))?;
    match args.output {
        Output::Json => output::print_json(&evaluation),
        Output::Table => output::print(&as_table(&evaluation)),
    }
}

/// The file that is meant: of the fitting ones, the one that has the flag.
fn file_with<'c>(files: Vec<FlagFile<'c>>, args: &Args) -> Result<FlagFile<'c>, Failure> {
    if args.flag_set.is_some() {
        choose(&files, args.flag_set.as_deref())?;
    }
    let named = |file: &FlagFile<'_>| args.flag_set.as_deref().is_none_or(|name| file.owner.is(name));
    let files: Vec<FlagFile<'_>> = files.into_iter().filter(named).collect();
    let known: Vec<String> =
        files.iter().flat_map(|file| file.file.flags().into_keys().map(Cow::into_owned)).collect();
    let mut having: Vec<FlagFile<'_>> =
        files.into_iter().filter(|file| file.file.flags().contains_key(args.flag.as_str())).collect();
    if having.len() > 1 {
        choose(&having, None)?;
    }
    having.pop().ok_or_else(|| {
        Failure::Input(format!("there is no flag {:?}: the flags are {}", args.flag, known.join(", ")))
    })
}

fn context(argument: &str) -> Result<Map<String, Value>, Failure> {
    let text = match argument.strip_prefix('@') {
        Some(path) => {
            std::fs::read_to_string(path).map_err(|error| Failure::Input(format!("{path}: {error}")))?
        }
        None => argument.to_owned(),
    };
    match serde_json::from_str(&text) {
        Ok(Value::Object(context)) => Ok(context),
        Ok(_) => Err(Failure::Input("--context is no JSON object".to_owned())),
        Err(error) => Err(Failure::Input(format!("--context is no JSON object: {error}"))),
    }
}

fn as_table(evaluation: &Evaluation) -> String {
    let reason = json!(evaluation.reason);
    let row = vec![
        evaluation.flag.clone(),
        evaluation.value.to_string(),
        evaluation.variant.clone().unwrap_or_else(|| "-".to_owned()),
        evaluation.cohort.clone().unwrap_or_else(|| "-".to_owned()),
        reason.as_str().unwrap_or_default().to_owned(),
    ];
    table(&["FLAG", "VALUE", "VARIANT", "COHORT", "REASON"], &[row])
}
