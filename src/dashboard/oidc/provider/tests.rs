use axum::Router;
use axum::http::HeaderMap;
use axum::routing::{get, post};

use super::*;
use crate::server::stub::{Authority, port};

fn settings(issuer: &str) -> Settings {
    Settings {
        issuer: issuer.to_owned(),
        client_id: "sluice".to_owned(),
        client_secret: None,
        scopes: vec!["email".to_owned(), "openid".to_owned()],
        certificates: None,
    }
}

#[test]
fn a_client_proves_itself_by_a_header_or_by_the_form_and_a_public_one_only_names_itself() {
    let provider = made(settings("https://id.example.com")).unwrap();
    let fields = [("code", "a b&c")];
    let (header, form) = provider.request(&fields, Some("s:1"), false);
    assert_eq!(form, "code=a+b%26c");
    let header = String::from_utf8(header.unwrap().bytes().to_vec()).unwrap();
    assert_eq!(header, "Basic c2x1aWNlOnMlM0Ex", "sluice:s%3A1");
    let (none, form) = provider.request(&fields, Some("s:1"), true);
    assert_eq!((none, form.as_str()), (None, "code=a+b%26c&client_id=sluice&client_secret=s%3A1"));
    let (none, form) = provider.request(&fields, None, false);
    assert_eq!((none, form.as_str()), (None, "code=a+b%26c&client_id=sluice"));
}

fn made(settings: Settings) -> Result<Provider, BadSettings> {
    Provider::new(settings, &Url::parse("https://sluice.example.com/").unwrap())
}

#[test]
fn an_issuer_is_asked_over_tls_and_named_as_its_tokens_name_it() {
    for bad in ["", "id.example.com", "http://id.example.com", "https://id.example.com/?a=b", "https://a@b"] {
        assert!(matches!(made(settings(bad)), Err(BadSettings::Issuer(_))), "{bad}");
    }
    let provider = made(settings("https://id.example.com/dex")).unwrap();
    assert_eq!(provider.name(), "id.example.com");
    assert_eq!(provider.redirect.as_str(), "https://sluice.example.com/enter/callback");
    assert_eq!(provider.scope(), "openid email");
    let nobody = Settings { client_id: String::new(), ..settings("https://id.example.com") };
    assert!(matches!(made(nobody), Err(BadSettings::ClientId)));
    let odd = Settings { certificates: Some("x".to_owned()), ..settings("https://id.example.com") };
    assert!(matches!(made(odd), Err(BadSettings::Certificates(_))));
}

#[tokio::test]
async fn signing_out_tells_the_provider_and_leads_to_it_without_a_token_in_any_address() {
    let authority = Authority::made();
    let listener = port().await;
    let issuer = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let announced = serde_json::json!({
        "issuer": issuer, "authorization_endpoint": format!("{issuer}/auth"), "token_endpoint": format!("{issuer}/token"),
        "jwks_uri": format!("{issuer}/keys"), "end_session_endpoint": format!("{issuer}/end?theme=dark"),
        "revocation_endpoint": format!("{issuer}/revoke"),
    });
    let heard = Arc::<std::sync::Mutex<Vec<(String, String)>>>::default();
    let noted = heard.clone();
    let app = Router::new()
        .route("/.well-known/openid-configuration", get(move || async move { announced.to_string() }))
        .route(
            "/revoke",
            post(move |headers: HeaderMap, form: String| async move {
                let header = headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
                noted.lock().unwrap().push((header.unwrap_or_default(), form));
            }),
        );
    authority.serve(listener, app).await;
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "hush").unwrap();
    let settings = Settings {
        certificates: Some(authority.pem.clone()),
        client_secret: Some(secret),
        ..settings(&issuer)
    };
    let provider = made(settings).unwrap();
    provider.revoke(&Secret::new(b"refresh & me".to_vec())).await.unwrap();
    let sent = (
        "Basic c2x1aWNlOmh1c2g=".to_owned(),
        "token=refresh+%26+me&token_type_hint=refresh_token".to_owned(),
    );
    assert_eq!(*heard.lock().unwrap(), [sent]);
    let public = Url::parse("https://sluice.example.com/").unwrap();
    let address = provider.leave(&public).await.unwrap();
    let back = "client_id=sluice&post_logout_redirect_uri=https%3A%2F%2Fsluice.example.com%2F";
    assert_eq!(address.as_str(), format!("{issuer}/end?theme=dark&{back}"));
}

#[tokio::test]
async fn a_provider_that_offers_neither_is_left_alone() {
    let authority = Authority::made();
    let listener = port().await;
    let issuer = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let announced = serde_json::json!({
        "issuer": issuer, "authorization_endpoint": format!("{issuer}/auth"), "token_endpoint": format!("{issuer}/token"),
        "jwks_uri": format!("{issuer}/keys"),
    });
    let app = Router::new()
        .route("/.well-known/openid-configuration", get(move || async move { announced.to_string() }));
    authority.serve(listener, app).await;
    let provider = made(Settings { certificates: Some(authority.pem.clone()), ..settings(&issuer) }).unwrap();
    provider.revoke(&Secret::new(b"refresh".to_vec())).await.unwrap();
    assert_eq!(provider.leave(&Url::parse("https://sluice.example.com/").unwrap()).await, None);
}
