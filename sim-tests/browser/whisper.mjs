// Ben whispers to Ann. Cleo, in the same forum, neither sees nor receives it.
import assert from 'node:assert/strict';
import { story } from './people.mjs';

await story(async (person) => {
  const [ann, ben, cleo] = [await person('Ann'), await person('Ben'), await person('Cleo')];
  const received = [];
  cleo.page.on('response', async (response) => {
    if (response.url().includes('search-chat.php')) {
      received.push(await response.text().catch(() => ''));
    }
  });
  await ann.open(1);
  await ben.open(2);
  await cleo.open(3);

  await ann.say('hello, this is Ann');
  await ben.sees('hello, this is Ann');
  await ben.item('hello, this is Ann').locator('a.author').click();
  await ben.place.locator('#whisper-banner').waitFor();
  await ben.say('between you and me');
  await ann.sees('between you and me');
  await ben.sees('between you and me');
  for (const someone of [ann, ben]) {
    assert.equal(await someone.item('between you and me').locator('.private').count(), 1, `${someone.name}: private`);
  }

  await ben.place.locator('#whisper-cancel').click();
  await ben.say('and this is for everybody');
  for (const someone of [ann, ben, cleo]) {
    await someone.sees('and this is for everybody');
    assert.equal(await someone.item('for everybody').locator('.private').count(), 0, `${someone.name}: public`);
  }
  // Cleo has been given something newer than the whisper by now.
  assert.equal(await cleo.item('between you and me').count(), 0, 'Cleo does not see it');
  await cleo.page.reload();
  await cleo.sees('and this is for everybody');
  assert.equal(await cleo.item('between you and me').count(), 0, 'nor after loading the page again');
  assert.ok(received.length > 0 && received.some((text) => text.includes('for everybody')), 'her answers were looked at');
  assert.ok(!received.some((text) => text.includes('between you')), 'nor was she sent it');
});
