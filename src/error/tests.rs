use super::*;

fn api(code: u16, reason: &str, message: &str) -> kube::Error {
    kube::Error::Api(Box::new(Status {
        code,
        reason: reason.to_owned(),
        message: message.to_owned(),
        ..Status::default()
    }))
}

/// Forms that only a debug dump has.
const DUMPED: [&str; 8] = ["{ ", "Some(", "None", "Status {", "Error(", "Err(", "Failure", "code:"];

fn assert_words(said: &str) {
    assert!(!said.contains('\n'), "{said}");
    for form in DUMPED {
        assert!(!said.contains(form), "{form:?} in {said}");
    }
}

#[test]
fn every_refusal_is_said_in_one_line_of_words() {
    let forbidden = r#"configmaps "web" is forbidden: User "ada" cannot update resource "configmaps""#;
    let hook = r#"Internal error occurred: failed calling webhook "no.example.com""#;
    let table = [
        (401, "Unauthorized", "Unauthorized", "the API server forbids it: Unauthorized"),
        (
            403,
            "Forbidden",
            forbidden,
            "the API server forbids it: configmaps \"web\" is forbidden: User \"ada\" cannot update resource \"configmaps\"",
        ),
        (
            404,
            "NotFound",
            r#"configmaps "web" not found"#,
            "the object does not exist: configmaps \"web\" not found",
        ),
        (
            409,
            "AlreadyExists",
            r#"events "a" already exists"#,
            "an object of this name exists already: events \"a\" already exists",
        ),
        (
            409,
            "Conflict",
            "the object has been modified; please apply your changes to the latest version",
            "the object has changed since it was read: the object has been modified; please apply your changes to the latest version",
        ),
        (
            413,
            "RequestEntityTooLarge",
            "limit is 3145728",
            "the API server refuses the object: limit is 3145728",
        ),
        (
            422,
            "Invalid",
            "ConfigMap \"web\" is invalid:\n  data: Forbidden: immutable",
            "the API server refuses the object: ConfigMap \"web\" is invalid: data: Forbidden: immutable",
        ),
        (
            429,
            "TooManyRequests",
            "storage is (re)initializing",
            "the API server is busy: storage is (re)initializing",
        ),
        (
            500,
            "InternalError",
            hook,
            "the API server could not do it: Internal error occurred: failed calling webhook \"no.example.com\"",
        ),
        (503, "ServiceUnavailable", "", "the API server could not do it: ServiceUnavailable"),
        (502, "", "", "the API server could not do it: HTTP status 502"),
    ];
    for (code, reason, message, said) in table {
        let fault = Fault::from(api(code, reason, message));
        assert_eq!(chain(&fault), said, "{code}");
        assert_words(&chain(&fault));
    }
    assert_eq!(chain(&Fault::TimedOut), "the API server did not answer within 10 s");
    let refused =
        std::io::Error::new(std::io::ErrorKind::ConnectionRefused, "Connection refused (os error 111)");
    let fault = Fault::from(kube::Error::Service(Box::new(refused)));
    assert_eq!(chain(&fault), "the API server cannot be reached: Connection refused (os error 111)");
    assert!(fault.is_transient());
}

#[test]
fn a_watch_that_breaks_is_said_in_words() {
    let busy = || api(429, "TooManyRequests", "storage is (re)initializing");
    for (error, said) in [
        (watcher::Error::InitialListFailed(busy()), "the list failed: storage is (re)initializing"),
        (
            watcher::Error::WatchStartFailed(busy()),
            "the watch could not be started: storage is (re)initializing",
        ),
    ] {
        assert_eq!(chain(&error), said);
    }
    let expired = Status { code: 410, reason: "Expired".to_owned(), ..Status::default() };
    assert_eq!(
        chain(&watcher::Error::WatchError(Box::new(expired))),
        "the API server ended the watch: Expired"
    );
}

#[test]
fn a_page_of_an_answer_is_cut() {
    let page = format!("<html>\n{}", "wörter ".repeat(5000));
    let said = chain(&Fault::from(api(502, "", &page)));
    assert!(said.chars().count() < 450 && said.ends_with('…'), "{said}");
}

#[test]
fn a_namespace_that_ends_is_told_from_a_missing_permission_and_a_missing_object() {
    let fault = |status: serde_json::Value| {
        Fault::from(kube::Error::Api(Box::new(serde_json::from_value(status).unwrap())))
    };
    let refused = |causes: serde_json::Value| {
        fault(serde_json::json!({"status": "Failure", "code": 403, "reason": "Forbidden", "message": "m",
            "details": {"name": "web", "kind": "configmaps", "causes": causes}}))
    };
    let cause = serde_json::json!([
        {"reason": "NamespaceTerminating", "message": "m", "field": "metadata.namespace"}
    ]);
    assert!(matches!(refused(cause), Fault::NamespaceTerminating(_)));
    assert!(matches!(refused(serde_json::json!([])), Fault::Forbidden(_)));
    let missing = |kind: &str| {
        fault(serde_json::json!({"status": "Failure", "code": 404, "reason": "NotFound", "message": "m",
            "details": {"name": "shop", "kind": kind}}))
    };
    assert!(matches!(missing("namespaces"), Fault::NamespaceTerminating(_)));
    assert!(matches!(missing("configmaps"), Fault::NotFound(_)));
    assert!(!missing("namespaces").is_transient());
}

/// A refused object was told as one that RBAC forbids, and the file's writer told it as somebody else's.
#[rstest::rstest]
#[case(403, "Forbidden", Reason::Forbidden)]
#[case(401, "Unauthorized", Reason::Forbidden)]
#[case(422, "Invalid", Reason::Refused)]
#[case(400, "BadRequest", Reason::Refused)]
#[case(413, "RequestEntityTooLarge", Reason::Refused)]
#[case(404, "NotFound", Reason::Retrying)]
#[case(409, "Conflict", Reason::Retrying)]
#[case(409, "AlreadyExists", Reason::Retrying)]
#[case(429, "TooManyRequests", Reason::Retrying)]
#[case(500, "InternalError", Reason::Retrying)]
fn what_the_api_server_says_has_one_reason(
    #[case] code: u16,
    #[case] reason: &str,
    #[case] expected: Reason,
) {
    assert_eq!(Fault::from(api(code, reason, "no")).reason(), expected);
}

#[test]
fn a_call_that_takes_too_long_is_tried_again() {
    assert_eq!(Fault::TimedOut.reason(), Reason::Retrying);
}

/// Tried again for ever it would be 1.5 MB each time.
#[test]
fn what_etcd_takes_at_no_time_is_not_taken_for_a_failure_that_passes() {
    let refused = Fault::from(api(500, "InternalError", "etcdserver: request is too large"));
    assert_eq!((refused.reason(), refused.is_transient()), (Reason::Refused, false));
    let failed = Fault::from(api(500, "InternalError", "etcdserver: request timed out"));
    assert!(failed.is_transient());
}
