//! Teams: an Adaptive Card for a workflow. What others wrote stands in text runs, which read no Markdown.

use serde_json::{Value, json};

use crate::notify::cohorts;
use crate::notify::message::{Details, Message};
use crate::notify::text;

/// The message that a workflow posts.
pub(super) fn card(message: &Message) -> Value {
    let runs = |text: &str, more: Value| {
        let mut run = json!({"type": "TextRun", "text": text::quiet(text)});
        if let (Value::Object(run), Value::Object(more)) = (&mut run, more) {
            run.extend(more);
        }
        json!({"type": "RichTextBlock", "inlines": [run]})
    };
    let mut body = vec![runs(&message.title, json!({"weight": "Bolder", "size": "Medium"}))];
    // A run has no ends of lines.
    body.extend(message.text.lines().filter(|line| !line.is_empty()).map(|line| runs(line, json!({}))));
    if let Details::Chapters(chapters) = &message.details {
        for chapter in chapters {
            body.push(runs(&chapter.title, json!({"weight": "Bolder"})));
            let lines = cohorts::brief(chapter, chapters.len());
            body.extend(lines.lines().filter(|line| !line.is_empty()).map(|line| runs(line, json!({}))));
        }
    }
    for (name, value) in &message.facts {
        let inlines = json!([
            {"type": "TextRun", "text": format!("{name}: "), "weight": "Bolder"},
            {"type": "TextRun", "text": text::quiet(value)},
        ]);
        body.push(json!({"type": "RichTextBlock", "spacing": "None", "inlines": inlines}));
    }
    let actions: Vec<Value> = message
        .link
        .iter()
        .map(|link| json!({"type": "Action.OpenUrl", "title": "Open the rollout", "url": link}))
        .collect();
    let card = json!({
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "fallbackText": text::markdown(&message.title),
        "body": body,
        "actions": actions,
    });
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": card,
        }],
    })
}
