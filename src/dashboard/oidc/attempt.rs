//! A sign-in under way, as far as the browser keeps it.
//!
//! Nothing is kept here meanwhile, so that nobody can fill or push out anything by beginning sign-ins. The browser
//! has a cookie with a random text, the time, and the page that is wanted; the state that the provider sends back,
//! the nonce in the token and the verifier of the code are made from that cookie with a key that only this process
//! has. So a state fits one cookie and no other, and a cookie that was changed fits none.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::dashboard::app::local_path;
use crate::dashboard::secret::{NoRandom, is_signed, random, sign};

/// How long a sign-in may take, in seconds.
pub const LIFE: i64 = 600;

/// A sign-in under way.
#[derive(Debug)]
pub struct Attempt {
    cookie: String,
    next: String,
}

/// Why what comes back is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stale {
    /// The browser has no cookie, or one of another sign-in.
    #[error(
        "this sign-in was not begun in this browser, or another one was begun after it, or it was finished already: begin again"
    )]
    Foreign,
    /// It took too long.
    #[error("this sign-in took longer than ten minutes: begin again")]
    Late,
}

impl Attempt {
    /// Begins a sign-in at a time in seconds since 1970; `next` is the page that is wanted afterwards.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn begin(next: &str, now: i64) -> Result<Attempt, NoRandom> {
        let next = local_path(next).to_owned();
        let cookie = format!("{}.{now}.{}", random()?, URL_SAFE_NO_PAD.encode(&next));
        Ok(Attempt { cookie, next })
    }

    /// The sign-in of this cookie, if the state is the one that was made for it.
    ///
    /// # Errors
    /// Why it is not taken.
    pub fn of(cookie: &str, key: &[u8; 32], state: &str, now: i64) -> Result<Attempt, Stale> {
        if !is_signed(key, &subject("state", cookie), state) {
            return Err(Stale::Foreign);
        }
        // It is as it was made here: the state says so.
        let mut parts = cookie.splitn(3, '.').skip(1);
        let begun = parts.next().and_then(|text| text.parse::<i64>().ok()).ok_or(Stale::Foreign)?;
        let next = parts.next().and_then(|text| URL_SAFE_NO_PAD.decode(text).ok()).ok_or(Stale::Foreign)?;
        let next = String::from_utf8(next).map_err(|_| Stale::Foreign)?;
        if !(0..=LIFE).contains(&(now - begun)) {
            return Err(Stale::Late);
        }
        Ok(Attempt { cookie: cookie.to_owned(), next: local_path(&next).to_owned() })
    }

    /// What the browser keeps.
    pub fn cookie(&self) -> &str {
        &self.cookie
    }

    /// The page of this panel that was wanted.
    pub fn next(&self) -> &str {
        &self.next
    }

    /// What the provider sends back.
    pub fn state(&self, key: &[u8; 32]) -> String {
        sign(key, &subject("state", &self.cookie))
    }

    /// What the token has in it.
    pub fn nonce(&self, key: &[u8; 32]) -> String {
        sign(key, &subject("nonce", &self.cookie))
    }

    /// What proves that whoever has the code has begun the sign-in.
    pub fn verifier(&self, key: &[u8; 32]) -> String {
        sign(key, &subject("verifier", &self.cookie))
    }

    /// What is shown of the verifier beforehand, by the method S256.
    pub fn challenge(&self, key: &[u8; 32]) -> String {
        URL_SAFE_NO_PAD.encode(Sha256::digest(self.verifier(key).as_bytes()))
    }
}

fn subject(what: &str, cookie: &str) -> Vec<u8> {
    format!("sign-in {what} {cookie}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [7; 32];

    #[test]
    fn a_state_fits_the_cookie_that_it_was_made_for_and_no_other() {
        let (one, two) = (Attempt::begin("/files", 100).unwrap(), Attempt::begin("/files", 100).unwrap());
        let back = Attempt::of(one.cookie(), &KEY, &one.state(&KEY), 200).unwrap();
        assert_eq!((back.next(), back.nonce(&KEY)), ("/files", one.nonce(&KEY)));
        assert_eq!(back.verifier(&KEY), one.verifier(&KEY));
        let foreign = |cookie: &str, state: &str| Attempt::of(cookie, &KEY, state, 200).unwrap_err();
        assert_eq!(foreign(two.cookie(), &one.state(&KEY)), Stale::Foreign);
        assert_eq!(foreign(one.cookie(), &one.state(&[8; 32])), Stale::Foreign);
        let longer = one.cookie().replace(".100.", ".190.");
        for (cookie, state) in [("", ""), ("", "x"), (one.cookie(), ""), (&longer, &one.state(&KEY))] {
            assert_eq!(foreign(cookie, state), Stale::Foreign, "{cookie} {state}");
        }
    }

    #[test]
    fn a_sign_in_lasts_ten_minutes_and_leads_to_a_page_of_the_panel() {
        let attempt = Attempt::begin("https://attacker.example/", 100).unwrap();
        assert_eq!(attempt.next(), "/");
        let at = |now| Attempt::of(attempt.cookie(), &KEY, &attempt.state(&KEY), now).map(|_| ());
        assert_eq!(at(100 + LIFE), Ok(()));
        assert_eq!((at(101 + LIFE), at(99)), (Err(Stale::Late), Err(Stale::Late)));
    }

    #[test]
    fn state_nonce_and_verifier_tell_nothing_of_each_other_and_the_challenge_is_that_of_the_verifier() {
        let attempt = Attempt::begin("/", 100).unwrap();
        let verifier = attempt.verifier(&KEY);
        assert!(attempt.state(&KEY) != attempt.nonce(&KEY) && attempt.nonce(&KEY) != verifier);
        assert!((43..=128).contains(&verifier.len()));
        let digest = Sha256::digest(verifier.as_bytes());
        assert_eq!(attempt.challenge(&KEY), URL_SAFE_NO_PAD.encode(digest));
        assert!(attempt.cookie().bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)));
    }
}
