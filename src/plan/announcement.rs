//! Whether what users are told of a feature can be shown as it is written.

use super::FieldError;
use crate::api::announcement::{objection_to_body, objection_to_link, objection_to_title};
use crate::api::{Announcement, ChangelogOutput};

/// Looks at `spec.announcement`. What is wrong with it keeps no flag from being rendered: a rollback must not wait for words.
pub(super) fn check(announcement: Option<&Announcement>, errors: &mut Vec<FieldError>) {
    let Some(announcement) = announcement else { return };
    let body = announcement.body.as_deref();
    add("spec.announcement.title", Some(&announcement.title), objection_to_title, errors);
    add("spec.announcement.body", body, objection_to_body, errors);
    add("spec.announcement.link", announcement.link.as_deref(), objection_to_link, errors);
}

/// Looks at `spec.changelog` of a FlagSet.
pub(super) fn check_changelog(changelog: Option<&ChangelogOutput>, errors: &mut Vec<FieldError>) {
    let Some(changelog) = changelog else { return };
    add("spec.changelog.title", changelog.title.as_deref(), objection_to_title, errors);
    add("spec.changelog.link", changelog.link.as_deref(), objection_to_link, errors);
}

fn add(
    path: &str,
    value: Option<&str>,
    objection: fn(&str) -> Option<&'static str>,
    errors: &mut Vec<FieldError>,
) {
    if let Some((value, why)) = value.and_then(|value| Some((value, objection(value)?))) {
        errors.push(FieldError::new(path, why).with_value(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_wrong_is_named_at_once() {
        let announcement = Announcement {
            title: String::new(),
            body: Some("x".repeat(2001)),
            link: Some("ftp://x".to_owned()),
            banner: true,
        };
        let mut errors = Vec::new();
        check(Some(&announcement), &mut errors);
        let paths: Vec<&str> = errors.iter().map(|error| error.path.as_str()).collect();
        assert_eq!(paths, ["spec.announcement.title", "spec.announcement.body", "spec.announcement.link"]);
        assert!(errors[1].value.as_ref().unwrap().len() < 600, "what is long is cut");
        errors.clear();
        check(Some(&Announcement { title: "New".to_owned(), ..Announcement::default() }), &mut errors);
        check(None, &mut errors);
        assert_eq!(errors, vec![]);
    }
}
