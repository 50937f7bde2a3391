//! The example apps, installed once for each content: what the published evaluators make of a file.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::Value;
use sluice::flags::sha256_hex;

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/app");
/// The providers poll every few seconds; a busy machine takes longer.
const PATIENCE: Duration = Duration::from_secs(120);

/// The app in Python.
pub fn python() -> Command {
    python_with("requirements.txt", "app.py")
}

/// The shop in Python, whose metrics tell cohorts and variants.
pub fn python_shop() -> Command {
    python_with("requirements.txt", "shop.py")
}

/// The same with an older provider, which hashes as Node's does.
pub fn python_of_nodes_generation() -> Command {
    python_with("requirements-as-node.txt", "app.py")
}

fn python_with(requirements: &str, program: &str) -> Command {
    let home = installed("python", &[requirements], |home| {
        run(Command::new(tool("python3")).args(["-m", "venv", "venv"]).current_dir(home));
        run(Command::new(home.join("venv/bin/python"))
            .args(["-m", "pip", "install", "--quiet", "-r", requirements])
            .current_dir(home));
    });
    let mut command = Command::new(home.join("venv/bin/python"));
    command.arg(format!("{EXAMPLES}/python/{program}"));
    command
}

/// The app in JavaScript.
pub fn node() -> Command {
    node_with("app.js")
}

/// The shop in JavaScript.
pub fn node_shop() -> Command {
    node_with("shop.js")
}

fn node_with(program: &str) -> Command {
    tool("node");
    let home = installed("node", &["package.json", "package-lock.json", "app.js", "shop.js"], |home| {
        run(Command::new(tool("npm")).args(["ci", "--no-audit", "--no-fund"]).current_dir(home));
    });
    let mut command = Command::new("node");
    command.arg(home.join(program));
    command
}

/// The app in Java.
pub fn java() -> Command {
    tool("java");
    let home = installed("java", &["pom.xml", "src/main/java/App.java"], |home| {
        run(Command::new(tool("mvn")).args(["--batch-mode", "--quiet", "compile"]).current_dir(home));
    });
    let mut command = Command::new("java");
    let classes = format!("{0}/classes:{0}/dependency/*", home.join("target").display());
    // Started for seconds: the second compiler would cost more than it brings.
    command.args(["-XX:TieredStopAtLevel=1", "-cp", &classes, "App"]);
    command
}

/// A ConfigMap's directory as the kubelet lays it out: `flags.json` → `..data/flags.json`, `..data` → a dated directory
/// that is replaced by renaming a new link over it.
pub struct Mount(tempfile::TempDir);

impl Mount {
    pub fn new() -> Mount {
        let mount = Mount(tempfile::tempdir().unwrap());
        symlink("..data/flags.json", mount.file()).unwrap();
        mount
    }

    pub fn file(&self) -> PathBuf {
        self.0.path().join("flags.json")
    }

    pub fn swap(&self, text: &str) {
        let root = self.0.path();
        let old = fs::read_link(root.join("..data")).ok();
        let name = format!("..{}", sha256_hex(text.as_bytes()));
        fs::create_dir(root.join(&name)).unwrap();
        fs::write(root.join(&name).join("flags.json"), text).unwrap();
        symlink(&name, root.join("..data_tmp")).unwrap();
        fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
        if let Some(old) = old {
            fs::remove_dir_all(root.join(old)).unwrap();
        }
    }
}

/// A running app; it is ended with the test.
pub struct App {
    child: Child,
    lines: Receiver<String>,
}

impl App {
    /// Starts an app that says what these users get of the flags, and says it again whenever the file changes.
    pub fn start<'a>(
        mut command: Command,
        mount: &Mount,
        flags: impl IntoIterator<Item = &'a str>,
        users: &[Value],
    ) -> App {
        let mut child = command
            .args(flags)
            .arg("--watch")
            .env("FLAGD_OFFLINE_FLAG_SOURCE_PATH", mount.file())
            .env("FLAGD_OFFLINE_POLL_MS", "500")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // What the providers have to say of each evaluation would fill the test's output.
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let lines: String = users.iter().map(|user| format!("{user}\n")).collect();
        stdin.write_all(lines.as_bytes()).unwrap();
        drop(stdin);
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (send, lines) = channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    break;
                }
            }
        });
        App { child, lines }
    }

    /// The next line that the app prints.
    pub fn line(&self) -> Value {
        let line = self.lines.recv_timeout(PATIENCE).expect("the app says no more");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line}: {error}"))
    }
}

impl Drop for App {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A directory with these files of an example and what `install` adds; made once for each content.
fn installed(example: &str, files: &[&str], install: impl FnOnce(&Path)) -> PathBuf {
    // Tests of one process take turns; those of two do not run at once.
    static ONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let contents: Vec<Vec<u8>> =
        files.iter().map(|file| fs::read(format!("{EXAMPLES}/{example}/{file}")).unwrap()).collect();
    let digest = sha256_hex(&contents.concat());
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("app-{example}-{digest:.12}"));
    let ready = home.join("ready");
    if !ready.exists() {
        let _ = fs::remove_dir_all(&home);
        for (file, content) in files.iter().zip(contents) {
            fs::create_dir_all(home.join(file).parent().unwrap()).unwrap();
            fs::write(home.join(file), content).unwrap();
        }
        install(&home);
        fs::write(ready, "").unwrap();
    }
    home
}

/// The tool's name, if it can be run.
fn tool(name: &str) -> &str {
    let found = Command::new(name).arg("--version").stdout(Stdio::null()).status();
    assert!(found.is_ok(), "this test needs {name} on the PATH: {found:?}");
    name
}

fn run(command: &mut Command) {
    let status = command.status().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?}: {status}");
}
