// A real issuer of tokens for tests/integration/test_tokens.py: oidc-provider, which the OpenID Foundation certifies.
// Arguments: port, audience, and a name for this set of keys. Each start makes new keys.
// A client's id is its secret. The last part of the resource that it asks for is the algorithm of its token.

import { generateKeyPairSync } from "node:crypto";
import { Provider } from "oidc-provider";

const [port, audience, name] = process.argv.slice(2);
const scope = "search ingest admin";

function key(alg, type, options) {
  const jwk = generateKeyPairSync(type, options).privateKey.export({ format: "jwk" });
  return { ...jwk, use: "sig", alg, kid: `${name}-${alg}` };
}

const client = (id) => ({
  client_id: id,
  client_secret: id,
  grant_types: ["client_credentials"],
  redirect_uris: [],
  response_types: [],
});

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: ["ada", "bob"].map(client),
  jwks: {
    keys: [
      key("RS256", "rsa", { modulusLength: 2048 }),
      key("ES256", "ec", { namedCurve: "P-256" }),
      key("EdDSA", "ed25519"),
    ],
  },
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (_ctx, resource) => ({
        scope,
        audience,
        accessTokenFormat: "jwt",
        jwt: { sign: { alg: resource.split("/").at(-1) } },
      }),
    },
  },
  scopes: scope.split(" "),
  ttl: { ClientCredentials: 600 },
});
provider.listen(Number(port), "127.0.0.1");
