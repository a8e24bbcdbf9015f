/** `weftgrad new NAME`: writes a project that trains on pictures of one's own. */
import { shown } from '../runs/run-folder.node.ts'
import { newProject } from '../tasks/new-project.node.ts'
import { openTerminal } from './terminal.ts'

export async function newCommand(name: string, { json }: { readonly json?: boolean }): Promise<void> {
  const terminal = openTerminal({ json })
  const { folder, files } = await newProject(name)
  terminal.say(`Wrote ${files.join(', ')} into ${shown(folder)}. Its README says what comes next.`)
  if (json) terminal.json({ folder, files })
}
