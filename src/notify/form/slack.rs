//! Slack: blocks of plain text, so that nothing of a message is read as markup.

use serde_json::{Value, json};
use url::Url;

use crate::api::notificationchannel::Thread;
use crate::notify::cohorts;
use crate::notify::message::{Details, Message};
use crate::notify::text;
use crate::sources::Secret;

use super::{Request, Step};

/// Most characters of a header.
const LONGEST_HEADER: usize = 150;
/// Most fields of a section.
const MOST_FIELDS: usize = 10;

/// The body of a message, without where it goes.
pub(super) fn post(message: &Message) -> Value {
    json!({
        // What notifications and old clients show.
        "text": text::slack(&message.title),
        "mrkdwn": false,
        "link_names": false,
        "parse": "none",
        "unfurl_links": false,
        "blocks": blocks(message),
    })
}

fn blocks(message: &Message) -> Vec<Value> {
    let plain = |text: &str| json!({"type": "plain_text", "text": text::quiet(text), "emoji": false});
    let title: String = message.title.chars().take(LONGEST_HEADER).collect();
    let mut blocks = vec![json!({"type": "header", "text": plain(&title)})];
    if !message.text.is_empty() {
        blocks.push(json!({"type": "section", "text": plain(&message.text)}));
    }
    let fields: Vec<Value> = message
        .facts
        .iter()
        .take(MOST_FIELDS)
        .map(|(name, value)| plain(&format!("{name}: {value}")))
        .collect();
    if !fields.is_empty() {
        blocks.push(json!({"type": "section", "fields": fields}));
    }
    if let Details::Chapters(chapters) = &message.details {
        for chapter in chapters {
            let title: String = chapter.title.chars().take(LONGEST_HEADER).collect();
            blocks.push(json!({"type": "header", "text": plain(&title)}));
            blocks.push(json!({"type": "section", "text": plain(&cohorts::brief(chapter, chapters.len()))}));
        }
    }
    if let Some(link) = &message.link {
        let link = text::slack(link).replace('|', "%7C");
        let open = json!({"type": "mrkdwn", "text": format!("<{link}|Open the rollout>"), "verbatim": true});
        blocks.push(json!({"type": "context", "elements": [open]}));
    }
    blocks
}

/// What a bot does: it edits the message of the attempt, then adds what happened to its thread; the first time it makes the
/// message. The edit comes first as it may be repeated without harm.
pub(super) fn bot(
    base: &Url,
    channel: &str,
    authorization: &Secret,
    message: &Message,
    thread: Option<&Thread>,
) -> Vec<Request> {
    let call = |method: &str, more: Value, step| {
        let mut url = base.clone();
        url.set_path(&format!("{}/{method}", base.path().trim_end_matches('/')));
        let mut body = post(message);
        if let (Value::Object(body), Value::Object(more)) = (&mut body, more) {
            body.extend(more);
        }
        Request { step, ..Request::json(&url, &body).authorized(authorization) }
    };
    match thread {
        None => vec![call("chat.postMessage", json!({"channel": channel}), Step::Begin)],
        Some(thread) => vec![
            call("chat.update", json!({"channel": thread.channel, "ts": thread.ts}), Step::Edit),
            call("chat.postMessage", json!({"channel": thread.channel, "thread_ts": thread.ts}), Step::Whole),
        ],
    }
}
