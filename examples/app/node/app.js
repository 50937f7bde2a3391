// Says what users get of boolean flags, by the official flagd provider.
// usage: node app.js FLAG... [--watch] < users.jsonl
'use strict';

const fs = require('node:fs');
const { OpenFeature, ProviderEvents } = require('@openfeature/server-sdk');
const { FlagdProvider } = require('@openfeature/flagd-provider');

// A client that answers from the file, and looks at it again by itself.
async function clientOf(path) {
  await OpenFeature.setProviderAndWait(
    new FlagdProvider({ resolverType: 'in-process', offlineFlagSourcePath: path }),
  );
  return OpenFeature.getClient();
}

function usersOf(file) {
  const lines = fs.readFileSync(file, 'utf8').split('\n');
  return lines.filter((line) => line.trim()).map((line) => JSON.parse(line));
}

// The variant's name and the user's cohort, as labels of a metric; `feature.variantNames` says whether there is one.
function labels(variant) {
  const at = (variant ?? '').lastIndexOf('@');
  return at < 0 ? { variant, cohort: null } : { variant: variant.slice(0, at), cohort: variant.slice(at + 1) };
}

async function report(client, flags, users) {
  const lines = [];
  for (const flag of flags) {
    for (const user of users) {
      const { value, variant, reason } = await client.getBooleanDetails(flag, false, user);
      const targetingKey = user.targetingKey ?? null;
      lines.push(JSON.stringify({ flag, targetingKey, value, ...labels(variant), reason }));
    }
  }
  process.stdout.write(lines.map((line) => line + '\n').join(''));
}

async function main() {
  const flags = process.argv.slice(2).filter((argument) => argument !== '--watch');
  const path = process.env.FLAGD_OFFLINE_FLAG_SOURCE_PATH;
  if (flags.length === 0 || !path) {
    throw new Error('usage: node app.js FLAG... [--watch]; FLAGD_OFFLINE_FLAG_SOURCE_PATH names the mounted file');
  }
  const users = usersOf(0);
  const client = await clientOf(path);
  await report(client, flags, users);
  if (process.argv.includes('--watch')) {
    client.addHandler(ProviderEvents.ConfigurationChanged, () => report(client, flags, users));
  } else {
    await OpenFeature.close();
  }
}

module.exports = { clientOf, labels, usersOf };

if (require.main === module) {
  main().catch((error) => {
    console.error(error.message);
    process.exit(1);
  });
}
