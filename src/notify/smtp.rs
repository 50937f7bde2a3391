//! Sends a letter, over a connection that was checked as every other.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, AsyncTokioStream};
use lettre::transport::smtp::commands::{Data, Mail as MailFrom, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::api::notificationchannel::MailSecurity;
use crate::sources::outbound::{Outbound, Stream, Unsent};

use super::answer::{Against, Outcome};
use super::channel::Mail;

/// What this program calls itself.
const NAME: &str = "sluice.local";
/// Most bytes of what a server says before TLS.
const LONGEST_REPLY: usize = 4096;
/// What a server is taken to say first over a connection on which it has said so before.
const GREETING: &[u8] = b"220 ready\r\n";

/// Sends a letter; the time for the whole is the channel's.
pub async fn send(mail: &Mail, outbound: &Outbound, letter: &[u8]) -> Outcome {
    match tokio::time::timeout(outbound.timeout(), deliver(mail, outbound, letter)).await {
        Ok(Ok(())) => Outcome::Taken(None),
        Ok(Err(outcome)) => outcome,
        Err(_) => {
            let why = format!("the SMTP server did not take it within {} ms", outbound.timeout().as_millis());
            Outcome::Failed { why, against: Against::Message, after: None }
        }
    }
}

fn of_channel(why: String) -> Outcome {
    Outcome::Failed { why: super::text::line(&why, 300), against: Against::Channel, after: None }
}

/// In which words a failure of a stage is said, and that it is the channel's.
fn at<E: std::error::Error + 'static>(stage: &str) -> impl Fn(E) -> Outcome {
    move |error| of_channel(format!("{stage}: {}", crate::error::chain(&error)))
}

async fn deliver(mail: &Mail, outbound: &Outbound, letter: &[u8]) -> Result<(), Outcome> {
    let unsent = |unsent: Unsent| of_channel(format!("the SMTP server: {unsent}"));
    let mut stream = outbound.connect(&mail.server, mail.port).await.map_err(unsent)?;
    let greeting: &[u8] = match mail.security {
        MailSecurity::Plain => &[],
        MailSecurity::Tls => {
            stream = outbound.secure(stream, &mail.server).await.map_err(unsent)?;
            &[]
        }
        MailSecurity::StartTls => {
            start_tls(&mut stream).await?;
            stream = outbound.secure(stream, &mail.server).await.map_err(unsent)?;
            GREETING
        }
    };
    let name = ClientId::Domain(NAME.to_owned());
    let line = Line { greeting, stream };
    let mut smtp = AsyncSmtpConnection::connect_with_transport(Box::new(line), &name)
        .await
        .map_err(at("the SMTP server does not greet"))?;
    if let Some((user, password)) = &mail.credentials {
        let password = String::from_utf8_lossy(password.bytes()).into_owned();
        let credentials = Credentials::new(user.clone(), password);
        smtp.auth(DEFAULT_MECHANISMS, &credentials)
            .await
            .map_err(at("the SMTP server refuses the user name or the password"))?;
    }
    let mut parameters = Vec::new();
    if smtp.server_info().supports_feature(Extension::EightBitMime) {
        parameters.push(MailParameter::Body(MailBodyParameter::EightBitMime));
    }
    smtp.command(MailFrom::new(Some(mail.from.email.clone()), parameters))
        .await
        .map_err(at(&format!("the SMTP server refuses the sender {}", mail.from.email)))?;
    let mut refused = None;
    let mut accepted = 0;
    for to in &mail.to {
        match smtp.command(Rcpt::new(to.email.clone(), Vec::new())).await {
            Ok(_) => accepted += 1,
            // One that is wrong keeps the others from nothing.
            Err(error) => {
                let stage = format!("the SMTP server refuses the recipient {}", to.email);
                refused = Some(at(&stage)(error));
            }
        }
    }
    if let Some(refused) = refused.filter(|_| accepted == 0) {
        smtp.abort().await;
        return Err(refused);
    }
    let begun = smtp.command(Data).await.map(drop);
    let sent = match begun {
        Ok(()) => smtp.message(letter).await.map(drop),
        Err(error) => Err(error),
    };
    match sent {
        Ok(()) => {
            // It has the letter by then.
            let _answer = smtp.quit().await;
            Ok(())
        }
        Err(error) if error.is_permanent() => Err(Outcome::Refused(super::text::line(
            &format!("the SMTP server refuses it: {}", crate::error::chain(&error)),
            300,
        ))),
        Err(error) => {
            let why = super::text::line(&format!("the SMTP server: {}", crate::error::chain(&error)), 300);
            Err(Outcome::Failed { why, against: Against::Message, after: None })
        }
    }
}

/// Has a server begin TLS. Nothing that it says before is believed afterwards.
async fn start_tls(stream: &mut Stream) -> Result<(), Outcome> {
    expect(stream, "220", "the SMTP server does not greet").await?;
    say(stream, &format!("EHLO {NAME}\r\n")).await?;
    let offers = expect(stream, "250", "the SMTP server does not answer EHLO").await?;
    if !offers
        .lines()
        .any(|line| line.get(4..).is_some_and(|offer| offer.trim().eq_ignore_ascii_case("STARTTLS")))
    {
        return Err(of_channel("the SMTP server offers no STARTTLS".to_owned()));
    }
    say(stream, "STARTTLS\r\n").await?;
    expect(stream, "220", "the SMTP server refuses STARTTLS").await?;
    Ok(())
}

async fn say(stream: &mut Stream, words: &str) -> Result<(), Outcome> {
    stream.write_all(words.as_bytes()).await.map_err(at("the connection to the SMTP server broke"))
}

/// A reply of one or several lines with this code, byte by byte: what follows it belongs to TLS.
async fn expect(stream: &mut Stream, code: &str, otherwise: &str) -> Result<String, Outcome> {
    let mut said = Vec::new();
    loop {
        let byte = stream.read_u8().await.map_err(at("the connection to the SMTP server broke"))?;
        said.push(byte);
        if said.len() > LONGEST_REPLY {
            return Err(of_channel(format!("{otherwise}: it says too much")));
        }
        if byte != b'\n' {
            continue;
        }
        let text = String::from_utf8_lossy(&said).into_owned();
        let last = text.lines().last().unwrap_or_default();
        // A dash after the code says that there are more lines.
        if last.as_bytes().get(3) == Some(&b'-') {
            continue;
        }
        return match last.starts_with(code) {
            true => Ok(text),
            false => Err(of_channel(format!("{otherwise}: {}", text.trim()))),
        };
    }
}

/// A connection as lettre takes it, which greets again where the server did so before TLS.
#[derive(Debug)]
struct Line {
    greeting: &'static [u8],
    stream: Stream,
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.greeting.is_empty() {
            let (now, later) = self.greeting.split_at(self.greeting.len().min(buf.remaining()));
            buf.put_slice(now);
            self.greeting = later;
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl AsyncTokioStream for Line {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.stream.peer_addr()
    }
}
