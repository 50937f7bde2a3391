use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use rstest::rstest;
use serde_json::{Value, json};

use super::*;

const EXPECTED: Expected<'static> = Expected {
    issuer: "https://id.example.com",
    client_id: "sluice",
    nonce: Some("n1"),
    subject: None,
    now: 1_000,
};

fn encoded(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A provider with a key on the curve P-256.
struct Signer {
    pair: EcdsaKeyPair,
    keys: Keys,
}

impl Signer {
    fn new(id: &str) -> Signer {
        let random = SystemRandom::new();
        let how = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(how, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(how, pkcs8.as_ref(), &random).unwrap();
        let point = pair.public_key().as_ref();
        let key = json!({"kty": "EC", "crv": "P-256", "kid": id, "alg": "ES256", "use": "sig",
            "x": encoded(&point[1..33]), "y": encoded(&point[33..])});
        let set = json!({"keys": [{"kty": "oct", "k": "AAAA"}, {"odd": true}, key]});
        Signer { pair, keys: Keys::read(set.to_string().as_bytes()).unwrap() }
    }

    fn token(&self, header: &Value, body: &Value) -> String {
        let content =
            format!("{}.{}", encoded(header.to_string().as_bytes()), encoded(body.to_string().as_bytes()));
        let signature = self.pair.sign(&SystemRandom::new(), content.as_bytes()).unwrap();
        format!("{content}.{}", encoded(signature.as_ref()))
    }
}

fn header() -> Value {
    json!({"alg": "ES256", "kid": "k1"})
}

fn body(more: Value) -> Value {
    let mut body =
        json!({"iss": "https://id.example.com", "sub": "ada", "aud": "sluice", "exp": 2_000, "nonce": "n1"});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

#[rstest]
#[case::as_asked(json!({}), Ok(()))]
#[case::one_of_several_clients(json!({"aud": ["other", "sluice"], "azp": "sluice"}), Ok(()))]
#[case::a_clock_a_little_ahead(json!({"nbf": 1_030}), Ok(()))]
#[case::of_another_issuer(json!({"iss": "https://id.example.com/"}), Err(Wrong::Issuer))]
#[case::for_another_client(json!({"aud": "other"}), Err(Wrong::Audience))]
#[case::for_many_others(json!({"aud": ["a", "b"]}), Err(Wrong::Audience))]
#[case::given_to_another_client(json!({"aud": ["sluice", "b"], "azp": "b"}), Err(Wrong::Audience))]
#[case::over(json!({"exp": 1_000}), Err(Wrong::Expired))]
#[case::of_no_time(json!({"exp": -1e300}), Err(Wrong::Expired))]
#[case::without_an_end(json!({"exp": null}), Err(Wrong::Malformed))]
#[case::of_an_end_that_is_a_text(json!({"exp": "2000"}), Err(Wrong::Malformed))]
#[case::too_early(json!({"nbf": 1_100}), Err(Wrong::TooEarly))]
#[case::of_another_sign_in(json!({"nonce": "n2"}), Err(Wrong::Nonce))]
#[case::of_no_sign_in(json!({"nonce": null}), Err(Wrong::Nonce))]
#[case::about_nobody(json!({"sub": ""}), Err(Wrong::Subject))]
fn a_token_says_what_was_asked_for(#[case] more: Value, #[case] expected: Result<(), Wrong>) {
    let signer = Signer::new("k1");
    let token = signer.token(&header(), &body(more));
    assert_eq!(verify(&token, &signer.keys, &EXPECTED).map(|_| ()), expected);
}

#[test]
fn a_token_is_signed_by_a_key_of_the_provider_and_by_an_algorithm_of_that_key() {
    let (signer, other) = (Signer::new("k1"), Signer::new("k1"));
    let token = signer.token(&header(), &body(json!({})));
    let said = |token: &str, keys: &Keys| verify(token, keys, &EXPECTED);
    assert_eq!(said(&token, &signer.keys), Ok(Claims { subject: "ada".to_owned(), expires: 2_000 }));
    assert_eq!(said(&token, &other.keys), Err(Wrong::Signature));
    assert_eq!(said(&token, &Keys::default()), Err(Wrong::UnknownKey));
    let unknown = signer.token(&json!({"alg": "ES256", "kid": "k2"}), &body(json!({})));
    assert_eq!(said(&unknown, &signer.keys), Err(Wrong::UnknownKey));
    // A body that was put in the place of the signed one, and a signature that was left out.
    let (content, signature) = token.rsplit_once('.').unwrap();
    let (head, _) = content.split_once('.').unwrap();
    let swapped =
        format!("{head}.{}.{signature}", encoded(body(json!({"sub": "eve"})).to_string().as_bytes()));
    assert_eq!(said(&swapped, &signer.keys), Err(Wrong::Signature));
    assert_eq!(said(&format!("{content}."), &signer.keys), Err(Wrong::Signature));
    for algorithm in ["none", "HS256", "RS1", ""] {
        let unsigned = signer.token(&json!({"alg": algorithm, "kid": "k1"}), &body(json!({})));
        assert_eq!(said(&unsigned, &signer.keys), Err(Wrong::Algorithm), "{algorithm}");
    }
    for algorithm in ["RS256", "ES384", "EdDSA"] {
        let confused = signer.token(&json!({"alg": algorithm, "kid": "k1"}), &body(json!({})));
        assert_eq!(said(&confused, &signer.keys), Err(Wrong::UnknownKey), "{algorithm}");
    }
    let critical = signer.token(&json!({"alg": "ES256", "kid": "k1", "crit": ["x"]}), &body(json!({})));
    assert_eq!(said(&critical, &signer.keys), Err(Wrong::Malformed));
    for odd in ["", ".", "..", "a.b", "a.b.c", "é.é.é", &"a".repeat(20_000)] {
        assert_eq!(said(odd, &signer.keys), Err(Wrong::Malformed), "{odd:.20}");
    }
}

#[test]
fn a_refreshed_token_is_about_the_same_person() {
    let signer = Signer::new("k1");
    let token = signer.token(&header(), &body(json!({"nonce": null})));
    let same = Expected { nonce: None, subject: Some("ada"), ..EXPECTED };
    assert!(verify(&token, &signer.keys, &same).is_ok());
    let other = Expected { subject: Some("bob"), ..same };
    assert_eq!(verify(&token, &signer.keys, &other), Err(Wrong::Subject));
}

#[test]
fn the_other_curve_is_known_too() {
    let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
    let key = json!({"kty": "OKP", "crv": "Ed25519", "x": encoded(pair.public_key().as_ref())});
    let keys = Keys::read(json!({"keys": [key]}).to_string().as_bytes()).unwrap();
    let content =
        format!("{}.{}", encoded(br#"{"alg":"EdDSA"}"#), encoded(body(json!({})).to_string().as_bytes()));
    let token = format!("{content}.{}", encoded(pair.sign(content.as_bytes()).as_ref()));
    assert!(verify(&token, &keys, &EXPECTED).is_ok());
    assert!(Keys::read(b"[]").is_err() && Keys::read(b"{\"keys\": 1}").is_err());
}
