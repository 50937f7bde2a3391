//! Random texts that open something, and how they are compared.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

/// The operating system gave no random bytes, so that nothing can be kept secret.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the system has no random numbers")]
pub struct NoRandom;

/// A digest by which a secret is known without being kept.
pub type Known = [u8; 32];

/// 256 random bits as a text that may stand in an address or a cookie.
///
/// # Errors
/// When the system has none.
pub fn random() -> Result<String, NoRandom> {
    Ok(URL_SAFE_NO_PAD.encode(random_key()?))
}

/// 256 random bits.
///
/// # Errors
/// When the system has none.
pub fn random_key() -> Result<[u8; 32], NoRandom> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|_| NoRandom)?;
    Ok(bytes)
}

/// The digest of a secret. Looking one up by it tells nothing of the others by how long it takes.
pub fn known(secret: &str) -> Known {
    Sha256::digest(secret.as_bytes()).into()
}

/// What proves that a form was made by whoever has the key, for this subject.
pub fn sign(key: &[u8; 32], subject: &[u8]) -> String {
    let mac = mac(key).chain_update(subject);
    URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
}

/// Whether a text is what [`sign`] makes. Takes as long for a nearly right one as for any other.
pub fn is_signed(key: &[u8; 32], subject: &[u8], given: &str) -> bool {
    let Ok(given) = URL_SAFE_NO_PAD.decode(given) else { return false };
    mac(key).chain_update(subject).verify_slice(&given).is_ok()
}

fn mac(key: &[u8; 32]) -> Hmac<Sha256> {
    // The key of HMAC is filled up with zeros to a block of SHA-256.
    let mut block = [0; 64];
    for (to, from) in block.iter_mut().zip(key) {
        *to = *from;
    }
    Hmac::<Sha256>::new(&block.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_of_one_subject_and_one_key() {
        let (key, other) = ([1; 32], [2; 32]);
        let signed = sign(&key, b"ada");
        assert!(is_signed(&key, b"ada", &signed));
        assert!(!is_signed(&key, b"bob", &signed) && !is_signed(&other, b"ada", &signed));
        for forged in ["", "x", "💣", &signed[..signed.len() - 2], &format!("{signed}AA")] {
            assert!(!is_signed(&key, b"ada", forged), "{forged}");
        }
    }

    #[test]
    fn secrets_are_long_and_differ() {
        let (one, two) = (random().unwrap(), random().unwrap());
        assert!(one.len() == 43 && one != two && known(&one) != known(&two));
    }
}
