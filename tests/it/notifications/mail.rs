//! A real SMTP server: aiosmtpd, installed once into a virtual environment of its own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

use crate::support::eventually;

const PACKAGE: &str = "aiosmtpd==1.4.6";

/// Where Python has it.
fn python() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join(PACKAGE.replace("==", "-"));
        let python = home.join("bin/python");
        if !home.join("complete").exists() {
            run(Command::new("python3").args(["-m", "venv"]).arg(&home));
            run(Command::new(&python).args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                PACKAGE,
            ]));
            std::fs::write(home.join("complete"), "").unwrap();
        }
        python
    })
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| {
        panic!(
            "the SMTP server of these tests is written in Python: install python3 with venv and pip: {error}"
        )
    });
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A certificate of its own for the loopback, which is its own authority.
pub struct Certificate {
    folder: tempfile::TempDir,
    /// The certificate.
    pub pem: String,
}

impl Certificate {
    pub fn new() -> Certificate {
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let pem = made.cert.pem();
        std::fs::write(folder.path().join("cert.pem"), &pem).unwrap();
        std::fs::write(folder.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        Certificate { folder, pem }
    }
}

/// A server, until it is dropped.
pub struct MailServer {
    child: Child,
    folder: tempfile::TempDir,
    pub port: u16,
}

impl MailServer {
    /// Starts one; with a certificate it wants STARTTLS and the user `sluice` with the password `secret`.
    pub async fn start(certificate: Option<&Certificate>) -> MailServer {
        let python = tokio::task::spawn_blocking(python).await.unwrap();
        // Free a moment ago.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(python);
        command
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/notifications/smtpd.py"))
            .arg(port.to_string())
            .arg(folder.path().join("letters"));
        if let Some(certificate) = certificate {
            command.args(["cert.pem", "key.pem"].map(|name| certificate.folder.path().join(name)));
        }
        let child = command.stdin(Stdio::null()).spawn().unwrap();
        let server = MailServer { child, folder, port };
        eventually("the SMTP server listens", async || {
            tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok()
        })
        .await;
        server
    }

    /// The letters that it has taken.
    pub fn letters(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.folder.path().join("letters")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        // It may have ended by itself: then no letters came.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}
