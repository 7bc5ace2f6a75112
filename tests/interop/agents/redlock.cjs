// node-redlock behind the line protocol of tests/interop/redis_driver.py.
const fs = require("node:fs");
const readline = require("node:readline");
const { default: Redlock } = require("redlock");
const Redis = require("ioredis");

const client = new Redis(process.argv[2]);
const patient = new Redlock([client], { retryCount: -1, retryDelay: 100, retryJitter: 50 });
const impatient = new Redlock([client], { retryCount: 0 });
const held = new Map();
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

async function release(lock) {
  try {
    // One that waits for ever would try to release for ever as well.
    await impatient.release(lock);
    return true;
  } catch {
    return false;
  }
}

async function take(from, key, ttl) {
  try {
    return await from.acquire([key], ttl);
  } catch {
    return null;
  }
}

async function contend(key, ttl, path, seconds) {
  const until = Date.now() + seconds * 1000;
  let count = 0;
  while (Date.now() < until) {
    const lock = await take(patient, key, ttl);
    if (!lock) continue;
    fs.appendFileSync(path, "enter library\n");
    await pause(3);
    fs.appendFileSync(path, "leave library\n");
    await release(lock);
    count += 1;
  }
  return count;
}

async function serve() {
  await client.ping();
  console.log("ready");
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [verb, key, ...rest] = line.split(" ");
    if (verb === "lock" || verb === "try") {
      const lock = await take(verb === "lock" ? patient : impatient, key, Number(rest[0]));
      if (lock) held.set(key, lock);
      console.log(lock ? "yes" : "no");
    } else if (verb === "unlock") {
      console.log((await release(held.get(key))) ? "yes" : "lost");
    } else {
      console.log(await contend(key, Number(rest[0]), rest[1], Number(rest[2])));
    }
  }
  client.disconnect();
}

serve();
