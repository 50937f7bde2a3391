use super::*;

fn spec(text: &str) -> NotificationChannelSpec {
    serde_saphyr::from_str(text).unwrap()
}

#[test]
fn words_of_a_reason_come_before_those_of_all_and_what_is_missing_is_the_default() {
    let spec = spec(
        "{link: 'https://x.example/{{ namespace }}/{{ name }}', templates: [
            {text: 'for all: {{ message }}'}, {reason: Completed, title: '{{ title|upper }} is out'},
            {reason: StepEntered, text: 'now {{ served }} ({{ link }})'}]}",
    );
    assert_eq!(problems(&spec), Vec::<String>::new());
    let step = message(&spec, &example());
    assert_eq!(step.title, "Dreams: a step was entered");
    assert_eq!(step.text, "now everyone=50% (https://x.example/maya/dreams)");
    assert_eq!(step.link.as_deref(), Some("https://x.example/maya/dreams"));
    let done = message(&spec, &OutboxEntry { reason: Reason::Completed, ..example() });
    assert_eq!((done.title.as_str(), done.text.as_str()), ("DREAMS is out", "for all: step 1 of ga"));
}

#[test]
fn a_template_that_fails_is_named_and_the_message_has_the_default_words() {
    let spec =
        spec("{templates: [{title: '{{ title }}', text: 'x'}, {reason: StepEntered, title: '{{ titel }}'}]}");
    let problems = problems(&spec);
    assert!(
        problems.len() == 1 && problems[0].starts_with("spec.templates[1].title: undefined"),
        "{problems:?}"
    );
    let said = message(&spec, &example());
    assert_eq!(said.title, "Dreams: a step was entered");
    assert!(said.problem.unwrap().starts_with("spec.templates[1].title"));
    let other = message(&spec, &OutboxEntry { reason: Reason::Paused, ..example() });
    assert_eq!((other.title.as_str(), other.problem), ("Dreams", None));
}

#[test]
fn a_link_that_is_none_is_left_out_and_named() {
    let spec = spec("{link: 'https://[{{ name }}'}");
    assert_eq!(problems(&spec), ["spec.link: it gives no URL"]);
    assert_eq!(message(&spec, &example()).link, None);
}

/// Everything of a rollout is a tenant's: nothing of it hides, breaks a line or is without end.
#[test]
fn what_tenants_write_is_seen_and_bounded() {
    let mut entry = example();
    entry.message = format!("\u{1b}[31m{}", "x".repeat(100_000));
    entry.rollout.title = Some("Dreams\n\u{202e}evil".to_owned());
    entry.who = "ada\r\nBcc: x".to_owned();
    let said = message(&spec("{templates: [{text: '{{ message }}'}]}"), &entry);
    assert!(said.problem.unwrap().contains("more than 8192 bytes"));
    assert!(said.title.starts_with("Dreams\\n\\u{202e}evil"), "{}", said.title);
    assert!(said.text.len() <= LONGEST_TEXT && said.text.starts_with("\\u{1b}[31m"), "{}", said.text);
    let by = said.facts.iter().find(|(name, _)| *name == "By").unwrap();
    assert_eq!(by.1, "ada\\r\\nBcc: x");
}
