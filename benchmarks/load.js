// Searches with forms from a list of files (written beforehand, so that sending them costs little): at a fixed rate whatever comes back (RATE), or by callers who ask again
// as soon as they are answered (CALLERS). Run by load.py.
import exec from 'k6/execution';
import { sleep } from 'k6';
import http from 'k6/http';

const forms = JSON.parse(open(__ENV.LIST)).map((file) => open(file, 'b'));
const headers = { 'Content-Type': __ENV.TYPE };
const open_loop = {
  executor: 'constant-arrival-rate', rate: Number(__ENV.RATE), timeUnit: '10s',
  preAllocatedVUs: 150, maxVUs: 3000,
};
const closed_loop = { executor: 'constant-vus', vus: Number(__ENV.CALLERS) };

export const options = {
  discardResponseBodies: true,
  scenarios: { search: { duration: `${__ENV.SECONDS}s`, ...(__ENV.RATE ? open_loop : closed_loop) } },
  summaryTrendStats: ['p(50)', 'p(95)', 'p(99)', 'max'],
  // No limits: naming a part is how k6 is told to count it.
  thresholds: Object.fromEntries([200, 503].flatMap((status) => [
    [`http_req_duration{status:${status}}`, ['max>=0']], [`http_reqs{status:${status}}`, ['count>=0']],
  ])),
};

export default function search() {
  const form = forms[exec.scenario.iterationInTest % forms.length];
  const answer = http.post(`${__ENV.URL}/search`, form, { headers, timeout: '10s' });
  if (!__ENV.RATE && answer.status !== 200) {
    sleep(0.5); // whoever is refused comes again later; at a fixed rate others come
  }
}

export function handleSummary(data) {
  return { [__ENV.SUMMARY]: JSON.stringify(data.metrics) };
}
