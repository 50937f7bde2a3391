// Command oidc-provider is Dex with one person who signs in by a password, for the tests of the panel. All that it
// knows comes from the file that is its only argument, and nothing of it outlives the process.
package main

import (
	"context"
	"encoding/json"
	"log"
	"net/http"
	"os"
	"time"

	gosundheit "github.com/AppsFlyer/go-sundheit"
	"github.com/dexidp/dex/server"
	"github.com/dexidp/dex/storage"
	"github.com/dexidp/dex/storage/memory"
	"github.com/dexidp/dex/web"
	"github.com/sirupsen/logrus"
	"golang.org/x/crypto/bcrypt"
)

type settings struct {
	// Issuer is its address, which begins with https.
	Issuer string `json:"issuer"`
	// Listen is host and port.
	Listen string `json:"listen"`
	// Certificate and Key are files.
	Certificate string `json:"certificate"`
	Key         string `json:"key"`
	// ClientID and ClientSecret are those of the panel; without a secret it is a public client.
	ClientID     string `json:"clientID"`
	ClientSecret string `json:"clientSecret"`
	RedirectURI  string `json:"redirectURI"`
	// Email and Password are the person's.
	Email    string `json:"email"`
	Password string `json:"password"`
	// TokenSeconds is how long an ID token is valid.
	TokenSeconds int `json:"tokenSeconds"`
}

func main() {
	logger := logrus.New()
	logger.SetOutput(os.Stderr)
	text, err := os.ReadFile(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	var given settings
	if err := json.Unmarshal(text, &given); err != nil {
		log.Fatal(err)
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(given.Password), bcrypt.DefaultCost)
	if err != nil {
		log.Fatal(err)
	}
	kept := storage.WithStaticClients(memory.New(logger), []storage.Client{{
		ID:           given.ClientID,
		Secret:       given.ClientSecret,
		Public:       given.ClientSecret == "",
		RedirectURIs: []string{given.RedirectURI},
		Name:         "Sluice",
	}})
	kept = storage.WithStaticPasswords(kept, []storage.Password{{
		Email: given.Email, Hash: hash, Username: given.Email, UserID: "1",
	}}, logger)
	kept = storage.WithStaticConnectors(kept, []storage.Connector{{
		ID: server.LocalConnector, Name: "Email", Type: server.LocalConnector,
	}})
	refresh, err := server.NewRefreshTokenPolicy(logger, false, "", "", "0s")
	if err != nil {
		log.Fatal(err)
	}
	provider, err := server.NewServer(context.Background(), server.Config{
		Issuer:             given.Issuer,
		Storage:            kept,
		SkipApprovalScreen: true,
		IDTokensValidFor:   time.Duration(given.TokenSeconds) * time.Second,
		RefreshTokenPolicy: refresh,
		Web:                server.WebConfig{WebFS: web.FS()},
		Logger:             logger,
		Now:                func() time.Time { return time.Now().UTC() },
		HealthChecker:      gosundheit.New(),
	})
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.ListenAndServeTLS(given.Listen, given.Certificate, given.Key, provider))
}
