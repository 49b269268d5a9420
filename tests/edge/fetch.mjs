// Holds the conversation that comes on standard input with fetch, and writes the answers to standard output.

import { readFileSync } from 'node:fs';

const answers = [];
for (const ask of JSON.parse(readFileSync(0, 'utf8'))) {
    const body = ask.isChunked ? new Blob([ask.body]).stream() : ask.body;
    const options = { method: ask.method, headers: ask.headers, body, duplex: 'half' };
    const answer = await fetch(ask.url, options);
    answers.push({ status: answer.status, body: await answer.text() });
}
process.stdout.write(JSON.stringify(answers));
