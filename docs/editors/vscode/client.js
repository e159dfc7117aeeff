// Starts `dhcc lsp` for files of the language dhc.
const { workspace } = require("vscode");
const { LanguageClient } = require("vscode-languageclient/node");

let client;

exports.activate = () => {
  const command = workspace.getConfiguration("dhc").get("command");
  client = new LanguageClient("dhc", "dhcc", { command, args: ["lsp"] }, { documentSelector: [{ language: "dhc" }] });
  return client.start();
};

exports.deactivate = () => client && client.stop();
