//! How a log line is written. Names, reasons and messages in it come from whoever may write an object, so whatever they
//! hold, an event is one line of what can be seen, and no field of it can be mistaken for another.

use std::fmt;
use std::io::{self, Write};

use tracing::Subscriber;
use tracing::field::Field;
use tracing_subscriber::Layer;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::registry::LookupSpan;

use super::LogFormat;
use crate::visible;

/// Writes each event as a line.
pub(super) fn lines<S, W, O>(format: LogFormat, colours: bool, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    W: Fn() -> O + Send + Sync + 'static,
    O: Write + 'static,
{
    let layer = tracing_subscriber::fmt::layer().with_ansi(colours);
    match format {
        LogFormat::Json => layer.json().with_writer(Spelt(writer)).boxed(),
        LogFormat::Text => layer.fmt_fields(debug_fn(field).delimited(" ")).with_writer(writer).boxed(),
    }
}

fn field(writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    let text = format!("{value:?}");
    match field.name() {
        "message" => write!(writer, "{}", visible::line(&text)),
        name => write!(writer, "{name}={}", visible::line(&text)),
    }
}

/// Spells out what cannot be seen in lines of JSON. Its escapes are JSON's own, so the values stay the same.
struct Spelt<W>(W);

impl<'w, W: Fn() -> O, O: Write> MakeWriter<'w> for Spelt<W> {
    type Writer = SpeltLine<O>;

    fn make_writer(&'w self) -> SpeltLine<O> {
        SpeltLine(self.0())
    }
}

/// Takes whole lines.
struct SpeltLine<O>(O);

impl<O: Write> Write for SpeltLine<O> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.write_all(visible::json(&String::from_utf8_lossy(line)).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::Value;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, colours: bool, text: &str) -> String {
        let kept = Kept::default();
        let writer = kept.clone();
        let subscriber = tracing_subscriber::registry().with(lines(format, colours, move || writer.clone()));
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(rollout = text, said = text, "an action was answered: {text}");
        });
        let bytes = kept.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    const FORGED: &str =
        "the UID is \"x\n2026-01-01T00:00:00Z  INFO sluice: all is well\r\u{1b}[2K\u{202e}\u{2028}";

    #[test]
    fn whatever_a_tenant_wrote_is_on_one_line_and_can_be_seen() {
        for colours in [false, true] {
            let line = logged(LogFormat::Text, colours, FORGED);
            assert_eq!(line.lines().count(), 1, "{line:?}");
            assert!(line.contains("said=") && line.contains("INFO"), "{line:?}");
            assert!(
                !line.contains(['\r', '\u{202e}', '\u{2028}']) && !line.contains("\u{1b}[2K"),
                "{line:?}"
            );
        }
        let line = logged(LogFormat::Json, false, FORGED);
        assert_eq!(line.lines().count(), 1, "{line:?}");
        assert!(line.trim_end().is_ascii(), "{line:?}");
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["fields"]["said"], FORGED);
        assert_eq!(value["fields"]["message"], format!("an action was answered: {FORGED}"));
    }
}
