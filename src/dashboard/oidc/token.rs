//! ID tokens: which key has signed one, and whether what it says is what was asked for.
//!
//! The API server judges each token that it is given, and its judgement is the one that counts. What is checked here
//! keeps a token that was meant for somebody else, or for another sign-in, from becoming a session.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm};
use serde::Deserialize;

/// Most bytes of a token: as many as a request to the API server can carry.
const LARGEST: usize = 16 * 1024;
/// Most keys of a provider that are looked at.
const MOST_KEYS: usize = 64;
/// How far the provider's clock may be ahead of ours, in seconds.
const LEEWAY: i64 = 60;

/// The keys that a provider signs with.
#[derive(Debug, Default)]
pub struct Keys(Vec<Key>);

#[derive(Debug, Deserialize)]
struct Key {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// What a token has to say.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// Who has issued it.
    pub issuer: &'a str,
    /// Whom it is for.
    pub client_id: &'a str,
    /// The nonce of the sign-in; none where a token takes the place of one that had been checked.
    pub nonce: Option<&'a str>,
    /// Whom it is about, where that is known.
    pub subject: Option<&'a str>,
    /// The present, in seconds since 1970.
    pub now: i64,
}

/// What a token says that is of use here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// Whom it is about, as the provider knows the person.
    pub subject: String,
    /// Until when it is valid, in seconds since 1970.
    pub expires: i64,
}

/// Why a token is not taken. Nothing of the token is in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// Its form.
    #[error("it is no signed token")]
    Malformed,
    /// An algorithm that is not known here, or none.
    #[error(
        "it is not signed by an algorithm that this panel knows: RS256 to RS512, PS256 to PS512, ES256, ES384, EdDSA"
    )]
    Algorithm,
    /// No key of the provider is the one that it names.
    #[error("none of the provider's keys is the one that it is signed with")]
    UnknownKey,
    /// The signature does not fit.
    #[error("its signature is wrong")]
    Signature,
    /// Somebody else has issued it.
    #[error("another issuer has issued it")]
    Issuer,
    /// It is for somebody else.
    #[error("it is for another client")]
    Audience,
    /// It is over.
    #[error("it has expired")]
    Expired,
    /// It is not yet valid.
    #[error("it is not valid yet: compare the clocks of the provider and of the panel")]
    TooEarly,
    /// It belongs to another sign-in.
    #[error("it belongs to another sign-in")]
    Nonce,
    /// It is about somebody else than the one before.
    #[error("it is about another person")]
    Subject,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Body {
    iss: String,
    sub: String,
    aud: Audience,
    azp: Option<String>,
    exp: f64,
    nbf: Option<f64>,
    nonce: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

/// What checks a signature of an algorithm, and the type of the keys that belong to it.
enum Check {
    Rsa(&'static signature::RsaParameters),
    Curve(&'static str, &'static dyn VerificationAlgorithm),
    Edwards,
}

impl Keys {
    /// Reads a set of keys. Those of which nothing is known are left out.
    ///
    /// # Errors
    /// It is no such set.
    pub fn read(text: &[u8]) -> Result<Keys, String> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<serde_json::Value>,
        }
        let set: Set = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        let known = set.keys.into_iter().take(MOST_KEYS).filter_map(|key| serde_json::from_value(key).ok());
        Ok(Keys(known.collect()))
    }

    fn fitting<'k>(&'k self, header: &'k Header) -> impl Iterator<Item = &'k Key> {
        self.0.iter().filter(|key| {
            let same =
                |of_key: &Option<String>, wanted: &str| of_key.as_deref().is_none_or(|own| own == wanted);
            same(&key.usage, "sig")
                && same(&key.alg, &header.alg)
                && header.kid.as_ref().is_none_or(|wanted| key.kid.as_ref() == Some(wanted))
        })
    }
}

/// What a token says, if it is signed by one of the keys and says what is expected.
///
/// # Errors
/// Why it is not taken.
pub fn verify(token: &str, keys: &Keys, expected: &Expected<'_>) -> Result<Claims, Wrong> {
    let body: Body = signed(token, keys)?;
    let is_ours = match &body.aud {
        Audience::One(one) => one == expected.client_id,
        Audience::Many(many) => many.iter().any(|one| one == expected.client_id),
    };
    if body.iss != expected.issuer {
        return Err(Wrong::Issuer);
    }
    if !is_ours || body.azp.as_deref().is_some_and(|party| party != expected.client_id) {
        return Err(Wrong::Audience);
    }
    // Whoever counts with parts of seconds loses them; what is no time at all is over.
    let expires = body.exp as i64;
    if expires <= expected.now {
        return Err(Wrong::Expired);
    }
    if body.nbf.is_some_and(|begins| begins as i64 > expected.now + LEEWAY) {
        return Err(Wrong::TooEarly);
    }
    match (expected.nonce, &body.nonce) {
        (Some(wanted), Some(nonce)) if wanted == nonce => {}
        (None, _) => {}
        (Some(_), _) => return Err(Wrong::Nonce),
    }
    if body.sub.is_empty() || expected.subject.is_some_and(|subject| subject != body.sub) {
        return Err(Wrong::Subject);
    }
    Ok(Claims { subject: body.sub, expires })
}

/// The content of a token that one of the keys has signed.
fn signed<T: for<'a> Deserialize<'a>>(token: &str, keys: &Keys) -> Result<T, Wrong> {
    if token.len() > LARGEST {
        return Err(Wrong::Malformed);
    }
    let (content, signature) = token.rsplit_once('.').ok_or(Wrong::Malformed)?;
    let (header, body) = content.split_once('.').ok_or(Wrong::Malformed)?;
    let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| Wrong::Malformed);
    let header: Header = serde_json::from_slice(&bytes(header)?).map_err(|_| Wrong::Malformed)?;
    if header.crit.is_some() {
        return Err(Wrong::Malformed);
    }
    let check = check(&header.alg).ok_or(Wrong::Algorithm)?;
    let signature = bytes(signature)?;
    let mut fitting = keys.fitting(&header).filter_map(|key| key.fits(&check)).peekable();
    if fitting.peek().is_none() {
        return Err(Wrong::UnknownKey);
    }
    let is_signed = fitting.any(|key| key.has_signed(content.as_bytes(), &signature));
    if !is_signed {
        return Err(Wrong::Signature);
    }
    serde_json::from_slice(&bytes(body)?).map_err(|_| Wrong::Malformed)
}

fn check(algorithm: &str) -> Option<Check> {
    Some(match algorithm {
        "RS256" => Check::Rsa(&signature::RSA_PKCS1_2048_8192_SHA256),
        "RS384" => Check::Rsa(&signature::RSA_PKCS1_2048_8192_SHA384),
        "RS512" => Check::Rsa(&signature::RSA_PKCS1_2048_8192_SHA512),
        "PS256" => Check::Rsa(&signature::RSA_PSS_2048_8192_SHA256),
        "PS384" => Check::Rsa(&signature::RSA_PSS_2048_8192_SHA384),
        "PS512" => Check::Rsa(&signature::RSA_PSS_2048_8192_SHA512),
        "ES256" => Check::Curve("P-256", &signature::ECDSA_P256_SHA256_FIXED),
        "ES384" => Check::Curve("P-384", &signature::ECDSA_P384_SHA384_FIXED),
        "EdDSA" => Check::Edwards,
        _ => return None,
    })
}

/// A key that is of the right type for an algorithm.
enum Fitting {
    Rsa(&'static signature::RsaParameters, RsaPublicKeyComponents<Vec<u8>>),
    Other(UnparsedPublicKey<Vec<u8>>),
}

impl Key {
    fn fits(&self, check: &Check) -> Option<Fitting> {
        let bytes = |text: &Option<String>| URL_SAFE_NO_PAD.decode(text.as_ref()?).ok();
        let is = |kty: &str, crv: &str| self.kty == kty && self.crv.as_deref() == Some(crv);
        match check {
            Check::Rsa(how) if self.kty == "RSA" => {
                Some(Fitting::Rsa(how, RsaPublicKeyComponents { n: bytes(&self.n)?, e: bytes(&self.e)? }))
            }
            Check::Curve(curve, how) if is("EC", curve) => {
                // A point that is not compressed.
                let point = [vec![4], bytes(&self.x)?, bytes(&self.y)?].concat();
                Some(Fitting::Other(UnparsedPublicKey::new(*how, point)))
            }
            Check::Edwards if is("OKP", "Ed25519") => {
                Some(Fitting::Other(UnparsedPublicKey::new(&signature::ED25519, bytes(&self.x)?)))
            }
            _ => None,
        }
    }
}

impl Fitting {
    fn has_signed(&self, content: &[u8], signature: &[u8]) -> bool {
        match self {
            Fitting::Rsa(how, key) => key.verify(how, content, signature).is_ok(),
            Fitting::Other(key) => key.verify(content, signature).is_ok(),
        }
    }
}

#[cfg(test)]
mod tests;
