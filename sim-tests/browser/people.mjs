// People at browsers: each has a browser context of their own, as on a machine of their own.
import assert from 'node:assert/strict';
import { chromium } from 'playwright-core';

const CHROMIUM = process.env.CHROMIUM || '/usr/bin/chromium';
const FLAGS = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage',
  // A page that a story makes up counts as one of the public network, and hubs are on this machine.
  '--disable-features=LocalNetworkAccessChecks',
];

// Milliseconds anything expected may take, where the story does not measure it.
export const PATIENCE = 20_000;

export const hubs = (process.env.LOOP_HUBS || '').split(',').filter(Boolean);
export const forum = process.env.LOOP_FORUM || '';

/** Runs a story with a browser; closes it, and fails if any page had an error. */
export async function story(tell) {
  assert.ok(hubs.length >= 3 && forum, 'LOOP_HUBS names three hubs and LOOP_FORUM a forum');
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: FLAGS, headless: true });
  const people = [];
  try {
    const person = async (name) => {
      const someone = await Person.come(browser, name);
      people.push(someone);
      return someone;
    };
    await tell(person);
    for (const someone of people) {
      assert.deepEqual(someone.troubles, [], `troubles of ${someone.name}`);
    }
  } catch (error) {
    for (const someone of people) {
      console.error(`${someone.name} sees at ${someone.page.url()}:\n${await someone.screen()}`);
      console.error(`troubles of ${someone.name}:`, someone.troubles);
    }
    throw error;
  } finally {
    await browser.close();
  }
}

/** One person and their page. */
export class Person {
  static async come(browser, name) {
    const context = await browser.newContext();
    const page = await context.newPage();
    page.setDefaultTimeout(PATIENCE);
    const someone = new Person(name, page);
    page.on('pageerror', (error) => someone.troubles.push(`error: ${error.message}`));
    // What a page's own policy forbids is a trouble wherever it happens: in the pop-up's frame, too.
    page.on('console', (message) => {
      if (/Content[ -]Security[ -]Policy/i.test(message.text())) {
        someone.troubles.push(`policy: ${message.text()}`);
      }
    });
    page.on('dialog', async (dialog) => {
      // Nothing of ours opens one: a script got through.
      someone.troubles.push(`dialog: ${dialog.message()}`);
      await dialog.dismiss();
    });
    return someone;
  }

  constructor(name, page) {
    this.name = name;
    this.page = page;
    this.place = page;
    this.troubles = [];
  }

  /** Opens the forum's page on a hub, counted from 1, and waits for the first answer. */
  async open(hub) {
    await this.page.goto(`${hubs[hub - 1]}/search-secure.php?uniqueFeedbackId=${encodeURIComponent(forum)}`);
    await this.settled();
  }

  /** Waits until the list has been drawn. */
  async settled() {
    await this.place.locator('#messages > li').first().waitFor();
  }

  /** Types keys without sending. */
  async type(text) {
    await this.place.locator('#message').pressSequentially(text);
  }

  /** Types a message and presses Enter. Resolves with the time of the key, in milliseconds. */
  async say(text) {
    await this.place.locator('#message').fill(text);
    const now = performance.now();
    await this.place.locator('#message').press('Enter');
    return now;
  }

  /** The item with this text. */
  item(text) {
    return this.place.locator('#messages > li').filter({ hasText: text });
  }

  /** Waits until exactly one item has this text. Resolves with the time, in milliseconds. */
  async sees(text, within = PATIENCE) {
    const item = this.item(text);
    await item.first().waitFor({ timeout: within });
    const now = performance.now();
    assert.equal(await item.count(), 1, `${this.name} sees "${text}" once`);
    return now;
  }

  /** Waits until no item has this text any more. */
  async seesNoMore(text, within = PATIENCE) {
    await this.item(text).first().waitFor({ state: 'detached', timeout: within });
  }

  /** Everything on the list. */
  async screen() {
    return this.place.locator('#messages').innerText({ timeout: 1000 }).catch(() => '(no list)');
  }
}
