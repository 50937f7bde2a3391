use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Secret};
use proptest::prelude::*;
use rstest::rstest;
use serde_json::json;

use super::*;
use crate::api::{
    CohortSet, FeatureRollout, FlagSet, MetricSource, MetricTemplate, NotificationChannel, Playbook,
    RolloutAction, RolloutPolicy,
};

/// JSON of so many lists in each other.
fn nested(levels: usize) -> String {
    format!("{}{}", "[".repeat(levels), "]".repeat(levels))
}

/// An object with a record of its writers that is nested, and this for a further field.
fn object_with(field: &str, json: &str) -> String {
    format!(
        r#"{{"apiVersion":"v1","kind":"K","metadata":{{"annotations":{{"a":"b"}},"managedFields":[{{"manager":"m","fieldsV1":{{"f:x":{}}}}}],"name":"n","namespace":"ns","resourceVersion":"7","uid":"u","generation":3}},"{field}":{json}}}"#,
        nested(200)
    )
}

fn said<K: DeserializeOwned>(text: &[u8]) -> (String, ObjectMeta) {
    match object::<K>(text).0 {
        Ok(_) => panic!("it can be read"),
        Err(invalid) => (invalid.error, invalid.metadata),
    }
}

#[rstest]
#[case::flag_set(r#"{"flags":{"deep":DEEP}}"#, "spec.flags.deep: it is nested more than 127 levels deep")]
#[case::list(r#"{"outputs":[{"configMap":"a"},{"key":DEEP}]}"#, "spec.outputs.1: it is nested")]
#[case::number(r#"{"flags":{"big":1e999}}"#, "spec.flags.big: number out of range")]
#[case::half_a_letter(r#"{"flags":{"half":"\ud800"}}"#, "spec.flags.half: ")]
#[case::unknown_enum(r#"{"emergency":"Panic"}"#, "unknown variant `Panic`")]
#[case::wrong_type(r#"{"flags":[1,2]}"#, "invalid type: sequence")]
fn what_cannot_be_read_is_named_with_the_field(#[case] spec: &str, #[case] says: &str) {
    let text = object_with("spec", &spec.replace("DEEP", &nested(200)));
    let (error, metadata) = said::<FlagSet>(text.as_bytes());
    assert!(error.contains(says), "{error}");
    assert_eq!((metadata.name.as_deref(), metadata.namespace.as_deref()), (Some("n"), Some("ns")));
    assert_eq!((metadata.resource_version.as_deref(), metadata.uid.as_deref()), (Some("7"), Some("u")));
    assert_eq!(metadata.generation, Some(3));
    assert_eq!(metadata.annotations.unwrap()["a"], "b");
}

/// So many objects of one entry, seven bytes each, which a tree holds in a hundred times that.
fn objects(count: usize) -> String {
    format!("[{}]", vec![r#"{"":1}"#; count].join(","))
}

#[rstest]
#[case::rollout("FeatureRollout", 2_000, true)]
#[case::heavy_rollout("FeatureRollout", 5_000, false)]
#[case::flag_set("FlagSet", 5_000, true)]
#[case::heavy_flag_set("FlagSet", 15_000, false)]
fn what_would_take_too_much_memory_is_not_decoded_and_says_so(
    #[case] kind: &str,
    #[case] count: usize,
    #[case] is_read: bool,
) {
    let text = object_with("spec", &objects(count)).replace(r#""K""#, &format!("{kind:?}"));
    let read = object::<Value>(text.as_bytes()).0;
    assert_eq!(read.is_ok(), is_read);
    if let Err(invalid) = read {
        assert!(invalid.error.contains("MiB of memory, where"), "{}", invalid.error);
        assert_eq!(invalid.metadata.uid.as_deref(), Some("u"), "it is told apart");
    }
    assert_eq!(parts(text.as_bytes()).get("spec").is_some(), count < 5_000, "nor are its parts");
}

#[test]
fn whoever_wrote_its_fields_has_no_say_in_whether_an_object_can_be_read() {
    macro_rules! readable {
        ($($kind:ty, $field:literal, $json:literal;)*) => {$(
            let (version, kind) = (<$kind as kube::Resource>::api_version(&()), <$kind as kube::Resource>::kind(&()));
            let text = object_with($field, $json);
            let text = text.replace(r#""v1""#, &format!("{version:?}")).replace(r#""K""#, &format!("{kind:?}"));
            let read = object::<$kind>(text.as_bytes());
            let metadata = kube::Resource::meta(&read.0.unwrap_or_else(|invalid| panic!("{}: {invalid}", stringify!($kind)))).clone();
            assert_eq!((metadata.managed_fields, metadata.name.as_deref()), (None, Some("n")), stringify!($kind));
        )*};
    }
    readable! {
        FeatureRollout, "spec", r#"{"cohorts":[{"name":"all"}],"phases":[]}"#;
        CohortSet, "spec", r#"{"cohorts":[]}"#;
        FlagSet, "spec", "{}";
        MetricSource, "spec", r#"{"prometheus":{"url":"http://x"}}"#;
        MetricTemplate, "spec", r#"{"sourceRef":{"name":"x"},"promql":"up"}"#;
        NotificationChannel, "spec", r#"{"webhook":{"url":"http://x"}}"#;
        Playbook, "spec", r#"{"startDate":"2025-09-08","phases":[]}"#;
        RolloutAction, "spec", r#"{"rolloutRef":{"name":"x"},"action":"Pause","reason":"r"}"#;
        RolloutPolicy, "spec", "{}";
        Namespace, "spec", r#"{"finalizers":[]}"#;
        ConfigMap, "data", r#"{"a":"b"}"#;
        Secret, "data", r#"{"a":"Yg=="}"#;
        ControllerRevision, "revision", "1";
        Pod, "spec", r#"{"containers":[]}"#;
    }
}

#[test]
fn bytes_that_are_no_text_are_no_reason_to_refuse_the_rest() {
    let mut text = br#"{"metadata":{"name":"n"},"data":{"a":"X"},"binaryData":{"b":"//79"}}"#.to_vec();
    let at = text.iter().position(|byte| *byte == b'X').unwrap();
    text[at] = 0xff;
    let map = object::<ConfigMap>(&text).0.unwrap();
    assert_eq!(map.data.unwrap()["a"], "\u{fffd}");
    assert_eq!(map.binary_data.unwrap()["b"].0, [0xff, 0xfe, 0xfd]);
}

#[test]
fn a_description_is_short_and_one_line_however_much_is_wrong() {
    let long = "x".repeat(1_000_000);
    let spec = format!(r#"{{"emergency":"\n{long}"}}"#);
    let (error, _) = said::<FlagSet>(object_with("spec", &spec).as_bytes());
    assert!(error.chars().count() <= LONGEST + 1 && !error.contains('\n'), "{error}");
    let spec = format!(r#"{{"flags":{{"{long}":{{"{long}":{}}}}}}}"#, nested(200));
    let (error, _) = said::<FlagSet>(object_with("spec", &spec).as_bytes());
    assert!(error.chars().count() <= LONGEST + 1, "{error}");
    assert!(error.ends_with("it is nested more than 127 levels deep"), "{error}");
}

#[test]
fn of_metadata_everything_is_read_that_can_be() {
    let text = format!(
        r#"{{"metadata":{{"name":"n","namespace":7,"generation":1e99,"labels":{},"finalizers":["f"],"uid":"\ud800"}}}}"#,
        nested(200)
    );
    let metadata = metadata(&text);
    assert_eq!(metadata.name.as_deref(), Some("n"));
    assert_eq!(metadata.finalizers, Some(vec!["f".to_owned()]));
    assert_eq!(
        (metadata.namespace, metadata.generation, metadata.labels, metadata.uid),
        (None, None, None, None)
    );
    for nothing in ["", "{", "[]", "7", "{}", r#"{"metadata":7}"#] {
        assert_eq!(super::metadata(nothing), ObjectMeta::default(), "{nothing}");
    }
}

#[test]
fn a_list_says_its_version_and_where_it_goes_on() {
    let metadata = |text: &str| list_metadata(text.as_bytes()).ok();
    let some = |version: Option<&str>, next: Option<&str>| {
        Some(ListMetadata { resource_version: version.map(str::to_owned), next: next.map(str::to_owned) })
    };
    assert_eq!(
        metadata(r#"{"items":[],"metadata":{"resourceVersion":"5","continue":""}}"#),
        some(Some("5"), None)
    );
    assert_eq!(
        metadata(r#"{"metadata":{"resourceVersion":"","continue":"x","y":1}}"#),
        some(None, Some("x"))
    );
    for none in ["", "{}", r#"{"metadata":7}"#, "<html>"] {
        assert_eq!(metadata(none), None, "{none}");
    }
}

#[test]
fn a_line_of_a_watch_is_told_whatever_its_object_is() {
    let line = |type_: &str, object: &str| format!(r#"{{"type":"{type_}","object":{object}}}"#).into_bytes();
    let bad = object_with("spec", &format!(r#"{{"flags":{{"a":{}}}}}"#, nested(200)));
    for (type_, gone) in [("ADDED", false), ("MODIFIED", false), ("DELETED", true)] {
        let found = match told::<FlagSet>(&line(type_, &bad)).unwrap() {
            Told::Changed(object) if !gone => object,
            Told::Gone(object) if gone => object,
            _ => panic!("{type_} is something else"),
        };
        assert_eq!(found.0.unwrap_err().metadata.name.as_deref(), Some("n"));
    }
    let mark = line("BOOKMARK", r#"{"kind":"FlagSet","metadata":{"resourceVersion":"9"}}"#);
    assert!(matches!(told::<FlagSet>(&mark), Ok(Told::UpTo(version)) if version == "9"));
    let failed = line("ERROR", r#"{"kind":"Status","code":410,"reason":"Expired","message":"too old"}"#);
    assert!(matches!(told::<FlagSet>(&failed), Ok(Told::Failed(status)) if status.code == 410));
    for broken in [&b""[..], b"{", b"{\"type\":\"ADDED\"", b"[]", b"{\"type\":\"ADDED\"}"] {
        assert!(told::<FlagSet>(broken).is_err());
    }
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<f64>().prop_map(|n| json!(n)),
        any::<u64>().prop_map(|n| json!(n)),
        any::<String>().prop_map(|s| json!(s)),
        Just(Value::Null),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|list| json!(list)),
            prop::collection::hash_map(any::<String>(), inner, 0..4).prop_map(|map| json!(map)),
        ]
    })
}

proptest! {
    #[test]
    fn whatever_is_in_an_object_its_name_is_known(spec in value(), status in value(), more in value(), bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        let object_of = |spec: &Value| json!({"metadata": {"name": "n", "namespace": "ns", "more": more}, "spec": spec, "status": status});
        let text = object_of(&spec).to_string();
        let meta = |guard: DeserializeGuard<FeatureRollout>| kube::Resource::meta(&guard).clone();
        let read = meta(object::<FeatureRollout>(text.as_bytes()));
        prop_assert_eq!((read.name.as_deref(), read.namespace.as_deref()), (Some("n"), Some("ns")));
        // Nonsense is nothing worse than unreadable.
        drop(object::<FeatureRollout>(&bytes));
        drop(parts(&bytes));
        let _broken = told::<FeatureRollout>(&bytes).is_err();
        let _broken = list_metadata(&bytes).is_err();
    }

    #[test]
    fn what_the_plain_decoder_reads_is_read_the_same(data in prop::collection::btree_map(any::<String>(), any::<String>(), 0..5)) {
        let text = json!({"metadata": {"name": "n", "annotations": data}, "data": data}).to_string();
        let plain: ConfigMap = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(object::<ConfigMap>(text.as_bytes()).0.unwrap(), plain);
    }
}
