// A shop whose metrics tell the user's cohort and variant, so that a trigger can judge each cohort by itself.
// usage: node shop.js FLAG < users.jsonl
//
// It prints where it listens. A request of each user is made ten times a second; /metrics counts them, and
// POST /fail?cohort=NAME lets those of a cohort fail that get the feature, as a bad release would.
'use strict';

const http = require('node:http');
const { clientOf, labels, usersOf } = require('./app.js');

const requests = new Map();
const failing = new Set();

async function serve(client, flag, user) {
  const details = await client.getBooleanDetails(flag, false, user);
  const { cohort, variant } = labels(details.variant);
  const code = details.value && failing.has(cohort) ? '500' : '200';
  // A series that begins at its first error has no rate until the second.
  for (const known of ['200', '500']) {
    const series = `cohort="${cohort ?? 'none'}",variant="${variant ?? 'none'}",code="${known}"`;
    requests.set(series, (requests.get(series) ?? 0) + (known === code ? 1 : 0));
  }
}

function answer(request, response) {
  const url = new URL(request.url, 'http://localhost');
  if (request.method === 'POST') {
    url.searchParams.getAll('cohort').forEach((cohort) => failing.add(cohort));
    response.end();
    return;
  }
  const lines = [...requests].sort().map(([series, count]) => `http_requests_total{${series}} ${count}\n`);
  response.setHeader('Content-Type', 'text/plain; version=0.0.4');
  response.end('# TYPE http_requests_total counter\n' + lines.join(''));
}

async function main() {
  const [flag] = process.argv.slice(2);
  const path = process.env.FLAGD_OFFLINE_FLAG_SOURCE_PATH;
  if (!flag || !path) {
    throw new Error('usage: node shop.js FLAG; FLAGD_OFFLINE_FLAG_SOURCE_PATH names the mounted file');
  }
  const users = usersOf(0);
  const client = await clientOf(path);
  const server = http.createServer(answer).listen(0, '127.0.0.1', () => {
    console.log(JSON.stringify({ address: `127.0.0.1:${server.address().port}` }));
  });
  for (;;) {
    for (const user of users) {
      await serve(client, flag, user);
    }
    await new Promise((done) => setTimeout(done, 100));
  }
}

main().catch((error) => {
  console.error(error.message);
  process.exit(1);
});
