//! The sandbox's own certificate authority and everything it signs.

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use super::error::SandboxError;

/// The certificate authority of one sandbox, with its files.
#[derive(Debug)]
pub(super) struct Certs {
    folder: PathBuf,
    ca: Issuer<'static, KeyPair>,
    ca_pem: String,
}

/// A certificate that proves who a client is, and its key.
pub(super) struct ClientCert {
    pub(super) cert_pem: String,
    pub(super) key_pem: String,
}

impl Certs {
    /// Opens the authority in this folder, or makes one there.
    ///
    /// An authority that is already there is kept, so that kubeconfigs and
    /// service-account tokens stay good when a sandbox is started again.
    pub(super) fn open(folder: PathBuf) -> Result<Self, SandboxError> {
        fs::create_dir_all(&folder).map_err(SandboxError::io("create", &folder))?;
        let key = key_in(&folder.join("ca.key"))?;
        let cert_file = folder.join("ca.crt");
        let params = ca_params()?;
        let ca_pem = match fs::read_to_string(&cert_file) {
            Ok(pem) => pem,
            Err(_) => {
                let pem = params.self_signed(&key)?.pem();
                write(&cert_file, &pem)?;
                pem
            }
        };
        let service_account = key_in(&folder.join("service-account.key"))?;
        // The API server takes an elliptic-curve key for checking tokens only
        // in its public form.
        write(&folder.join("service-account.pub"), &service_account.public_key_pem())?;
        let certs = Self { folder, ca: Issuer::new(params, key), ca_pem };
        certs.write_serving_cert()?;
        Ok(certs)
    }

    /// The certificate authority's certificate.
    pub(super) fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// A file of the authority, by name: `ca.crt`, `ca.key`, `serving.crt`,
    /// `serving.key`, `service-account.key`, `service-account.pub`.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A client certificate: the API server knows its holder by this name and
    /// as a member of these groups, of which there may be two at most.
    pub(super) fn client(&self, name: &str, groups: &[&str]) -> Result<ClientCert, SandboxError> {
        let mut params = CertificateParams::new(Vec::<String>::new())?;
        params.distinguished_name.push(DnType::CommonName, name);
        // rcgen keeps one value of a kind of attribute, and knows an
        // organisation by two kinds: its own and the raw object identifier.
        let kinds = [DnType::OrganizationName, DnType::CustomDnType(vec![2, 5, 4, 10])];
        if groups.len() > kinds.len() {
            return Err(SandboxError::TooManyGroups { user: name.to_owned(), groups: groups.len() });
        }
        for (kind, group) in kinds.into_iter().zip(groups) {
            params.distinguished_name.push(kind, *group);
        }
        let (cert, key) = self.sign(params, ExtendedKeyUsagePurpose::ClientAuth)?;
        Ok(ClientCert { cert_pem: cert.pem(), key_pem: key.serialize_pem() })
    }

    fn write_serving_cert(&self) -> Result<(), SandboxError> {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name.push(DnType::CommonName, "kube-apiserver");
        let (cert, key) = self.sign(params, ExtendedKeyUsagePurpose::ServerAuth)?;
        write(&self.file("serving.crt"), &cert.pem())?;
        write(&self.file("serving.key"), &key.serialize_pem())
    }

    fn sign(
        &self,
        mut params: CertificateParams,
        usage: ExtendedKeyUsagePurpose,
    ) -> Result<(Certificate, KeyPair), SandboxError> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let cert = params.signed_by(&key, &self.ca)?;
        Ok((cert, key))
    }
}

fn ca_params() -> Result<CertificateParams, SandboxError> {
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.distinguished_name.push(DnType::CommonName, "sluice sandbox");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

/// The key in this file, which is made if it is not there.
fn key_in(file: &Path) -> Result<KeyPair, SandboxError> {
    match fs::read_to_string(file) {
        Ok(pem) => Ok(KeyPair::from_pem(&pem)?),
        Err(_) => {
            let key = KeyPair::generate()?;
            write(file, &key.serialize_pem())?;
            Ok(key)
        }
    }
}

/// Writes a file that only its owner may read.
pub(super) fn write(file: &Path, text: &str) -> Result<(), SandboxError> {
    use std::io::Write;
    fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(file)
        .and_then(|mut f| f.write_all(text.as_bytes()))
        .map_err(SandboxError::io("write", file))
}
