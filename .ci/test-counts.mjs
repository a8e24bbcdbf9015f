/**
 * Prints `N passed, N failed` from Vitest's JSON report, and exits 1 unless tests ran and all of them passed:
 *
 *     node .ci/test-counts.mjs test-report.json
 *
 * A file that could not be loaded has no tests in the report; it counts as one failure. Without a report no test ran.
 */
import { existsSync, readFileSync } from 'node:fs'

const path = process.argv[2] ?? ''
const { numPassedTests: passed = 0, numFailedTests = 0, testResults = [], success = false } = reportAt(path)
const notLoaded = testResults.filter(
  ({ status, assertionResults }) => status === 'failed' && !assertionResults.some((one) => one.status === 'failed'),
)
const failed = numFailedTests + notLoaded.length
process.stdout.write(`${passed} passed, ${failed} failed\n`)
process.exitCode = passed > 0 && failed === 0 && success ? 0 : 1

function reportAt(path) {
  try {
    return existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : {}
  } catch {
    return {} // cut off: whoever wrote it was stopped
  }
}
