//! The largest rollout that the schema admits.

use serde_json::{Value, json};

/// As many conditions as a cohort may have.
pub fn match_of(values: &[&str]) -> Value {
    let attributes = |count: usize| -> serde_json::Map<String, Value> {
        (0..count).map(|a| (format!("a{a}"), json!("v"))).collect()
    };
    let expressions = |count: usize| -> Vec<Value> {
        (0..count).map(|e| json!({"key": format!("k{e}"), "operator": "In", "values": values})).collect()
    };
    let groups: Vec<Value> =
        (0..8).map(|_| json!({"attributes": attributes(8), "expressions": expressions(8)})).collect();
    json!({"attributes": attributes(16), "expressions": expressions(16), "anyOf": groups})
}

/// Everything at its bound, names at their longest.
pub fn largest(name: &str) -> Value {
    let long = |prefix: &str, i: usize| format!("{prefix}{i:02}{}", "x".repeat(63 - prefix.len() - 2));
    let cohorts: Vec<Value> = (0..16)
        .map(|c| {
            // One has many; the conditions of all have a bound together, too.
            let mut matches = match_of(&[&format!("v{c}")]);
            matches.as_object_mut().unwrap().remove("anyOf");
            if c > 0 {
                matches = json!({"attributes": {"a0": format!("v{c}")}});
            }
            json!({"name": long("c", c), "share": 6, "delay": "1h", "match": matches})
        })
        .collect();
    let asks = |percent: usize| -> Value {
        (0..16).map(|c| (long("c", c), json!(percent))).collect::<serde_json::Map<_, _>>().into()
    };
    let mut phases: Vec<Value> = (0..16)
        .map(|p| {
            let steps: Vec<Value> = (0..32)
                .map(|s| json!({"name": long("s", s), "cohorts": asks(1 + (p * 32 + s) * 99 / 511), "hold": "0s", "week": 1}))
                .collect();
            json!({"name": long("p", p), "goal": "g".repeat(256), "steps": steps})
        })
        .collect();
    let windows: Vec<Value> =
        (0..16).map(|w| json!({"days": ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"], "from": format!("{w:02}:00"), "to": "24:00"})).collect();
    let freezes: Vec<Value> = (0..128)
        .map(|f| {
            let name = format!("f{f:03}{}", "x".repeat(59));
            let day = |day: u8| format!("{}-01-{day:02}", 2040 + f);
            match f % 4 {
                0 => json!({"name": name, "from": day(1), "to": day(2)}),
                1 => json!({"name": name, "from": "12-20", "to": "01-02", "yearly": true}),
                _ => {
                    let instant = |at| format!("{}T00:00:00.000000+00:00", day(at));
                    json!({"name": name, "from": instant(1), "to": instant(2)})
                }
            }
        })
        .collect();
    let approvals: Vec<Value> =
        (0..64).map(|a| json!({"phase": long("p", a % 16), "step": long("s", a / 16)})).collect();
    let depends: Vec<Value> =
        (0..16).map(|d| json!({"name": long("d", d), "condition": "Completed"})).collect();
    let variants: Vec<Value> = (0..16).map(|v| json!({"name": long("v", v), "value": {"n": v}})).collect();
    phases[0]["steps"][24]["approval"] = json!("Required");
    let short = |prefix: &str, i: usize| format!("{prefix}{i:02}{}", "x".repeat(40 - prefix.len() - 2));
    let levels = json!([
        {"severity": "Warning", "above": "123456789012345.123456781", "for": "1m", "action": "Notify"},
        {"severity": "Warning", "above": "123456789012345.123456782", "for": "1m", "action": "Pause", "resumeAfter": "1h"},
        {"severity": "Critical", "above": "123456789012345.123456783", "for": "1m", "action": "GradualRollback"},
        {"severity": "Critical", "above": "123456789012345.123456784", "for": "1m", "action": "ImmediateRollback"},
    ]);
    let args: serde_json::Map<String, Value> =
        (0..16).map(|a| (format!("arg{a}"), json!("v".repeat(64)))).collect();
    // 3 × 16 cohorts and 13 whole ones: 61 pairs. Their missing data is ignored, so that steps go on.
    let triggers: Vec<Value> = (0..16)
        .map(|t| {
            let mut trigger = json!({
                "name": short("t", t), "metric": {"templateRef": {"name": long("m", t)}, "args": args},
                "levels": levels, "onNoData": "Ignore", "onProviderError": "Ignore", "missingFor": "24h",
            });
            if t < 3 {
                trigger["perCohort"] = json!({"label": "cohort"});
            }
            trigger
        })
        .collect();
    let criteria: Vec<Value> = (0..16)
        .map(|c| {
            let manual = json!({"value": "4.4", "at": "2025-01-01T00:00:00Z"});
            json!({"name": short("c", c), "manual": manual, "above": "4.2"})
        })
        .collect();
    let gates: Vec<String> = (0..16).map(|c| short("c", c)).collect();
    for phase in &mut phases {
        phase["gates"] = json!(gates);
    }
    let monitoring: Vec<Value> =
        (1..=8).map(|m| json!({"name": long("m", m), "until": format!("{m}h"), "interval": "1h"})).collect();
    let ladder = json!({"ladder": [80, 70, 60, 50, 40, 30, 20, 0], "every": "10m"});
    json!({
        "apiVersion": "sluice.dev/v1alpha1", "kind": "FeatureRollout", "metadata": {"name": name},
        "spec": {
            "feature": {"variants": variants, "control": long("v", 0), "treatment": long("v", 15)},
            "cohorts": cohorts, "baseline": asks(0), "phases": phases, "approvals": approvals, "dependsOn": depends,
            "triggers": triggers, "criteria": criteria, "monitoring": monitoring,
            "rollback": {"gradual": ladder, "partial": {"keep": (0..16).map(|c| long("c", c)).collect::<Vec<_>>()}},
            "schedule": {"startAt": "2025-01-06T00:00:00Z", "windows": windows, "freezes": freezes, "timeZone": "UTC"},
        },
    })
}
