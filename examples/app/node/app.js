// Says what users get of boolean flags, by the official flagd provider.
// usage: node app.js FLAG... [--watch] < users.jsonl
'use strict';

const fs = require('node:fs');
const { OpenFeature, ProviderEvents } = require('@openfeature/server-sdk');
const { FlagdProvider } = require('@openfeature/flagd-provider');

async function report(client, flags, users) {
  const lines = [];
  for (const flag of flags) {
    for (const user of users) {
      const { value, variant, reason } = await client.getBooleanDetails(flag, false, user);
      lines.push(JSON.stringify({ flag, targetingKey: user.targetingKey ?? null, value, variant, reason }));
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
  const users = fs.readFileSync(0, 'utf8').split('\n').filter((line) => line.trim()).map((line) => JSON.parse(line));
  await OpenFeature.setProviderAndWait(
    new FlagdProvider({ resolverType: 'in-process', offlineFlagSourcePath: path }),
  );
  const client = OpenFeature.getClient();
  await report(client, flags, users);
  if (process.argv.includes('--watch')) {
    client.addHandler(ProviderEvents.ConfigurationChanged, () => report(client, flags, users));
  } else {
    await OpenFeature.close();
  }
}

main().catch((error) => {
  console.error(error.message);
  process.exit(1);
});
