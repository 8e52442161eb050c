"""What an error can do."""

from wellread_hf.errors import SettingsError


def test_settings_in_an_error_get_the_names_of_another_recipe() -> None:
    error = SettingsError(
        "`start.weights` X: no; `start.weights_only`; `objective.layers` 1:1; start.weights"
    )
    renamed = error.renamed({"start.weights": "mlm_plus", "objective": "patient"})
    assert str(renamed) == "`mlm_plus` X: no; `start.weights_only`; `patient.layers` 1:1; start.weights"
    assert type(renamed) is SettingsError
