// Command installers is what people install an operator with, to test our chart and our bundle: Helm, and what the
// Operator Lifecycle Manager demands of a bundle.
//
// It runs as whichever program it is called by: `helm`, or `olm` with `validate FOLDER` (what is wrong with a bundle,
// a line each) or `crd` (the schema of ClusterServiceVersion as JSON).
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/operator-framework/api/crds"
	"github.com/operator-framework/api/pkg/manifests"
	"github.com/operator-framework/api/pkg/validation"
	helm "helm.sh/helm/v4/pkg/cmd"
)

func main() {
	var err error
	switch name := filepath.Base(os.Args[0]); name {
	case "helm":
		err = runHelm(os.Args[1:])
	case "olm":
		err = runOlm(os.Args[1:])
	default:
		err = fmt.Errorf("%s: call this binary as helm or olm", name)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func runHelm(arguments []string) error {
	command, err := helm.NewRootCmd(os.Stdout, arguments, helm.SetupLogging)
	if err != nil {
		return err
	}
	return command.Execute()
}

func runOlm(arguments []string) error {
	switch {
	case len(arguments) == 1 && arguments[0] == "crd":
		return json.NewEncoder(os.Stdout).Encode(crds.ClusterServiceVersion())
	case len(arguments) == 2 && arguments[0] == "validate":
		return validate(arguments[1])
	}
	return fmt.Errorf("usage: olm crd, or olm validate FOLDER")
}

// validate says what stands against a bundle; an error is returned if any of it is one.
func validate(folder string) error {
	bundle, err := manifests.GetBundleFromDir(folder)
	if err != nil {
		return err
	}
	objects := bundle.ObjectsToValidate()
	wrong := 0
	for _, result := range validation.DefaultBundleValidators.Validate(objects...) {
		for _, found := range append(result.Errors, result.Warnings...) {
			fmt.Println(found.Error())
		}
		wrong += len(result.Errors)
	}
	if wrong > 0 {
		return fmt.Errorf("%d errors in %s", wrong, folder)
	}
	return nil
}
